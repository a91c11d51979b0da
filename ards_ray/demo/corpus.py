"""A generated corpus in LLaVA's form: pictures of known scenes and true conversations about them."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import TypeAlias

from ards_ray.corpus.formats import FORMATS
from ards_ray.demo.questions import (
    Fact,
    area_of,
    box_of,
    caption_of,
    chat,
    description,
    fact_without_image,
    facts_of,
    with_article,
)
from ards_ray.demo.scenes import SOURCES, Scene, Source, Thing, draw_scene, imagine_scene

_SHARES = {"phrase": 0.15, "choice": 0.25, "caption": 0.11, "region": 0.11, "box": 0.11, "image": 0.15, "text": 0.12}
_CONVERSATIONS_PER_PICTURE = 1.6
# Published corpora favour the first options as well.
_GOLD_WEIGHTS = (38, 27, 18, 11, 6)
_PHRASE = "Answer the question using a single word or phrase."
_CHOICE = "Answer with the option's letter from the given choices directly."

Rounds: TypeAlias = list[tuple[str, str]]


@dataclass(frozen=True)
class _Picture:
    """A scene and its path under the image folder."""

    path: str
    scene: Scene


def write_corpus(folder: Path, conversations: int = 400, seed: int = 42) -> tuple[Path, Path]:
    """Write `corpus.json`, a LLaVA JSON array, and the pictures under `images/`, one folder for each source.

    Returns:
        The corpus file and the image folder.
    """
    rng = random.Random(seed)
    formats = _formats(rng, conversations)
    illustrated = [name != "text" and not (name == "choice" and rng.random() < 0.1) for name in formats]
    pictures = _pictures(rng, round(sum(illustrated) / _CONVERSATIONS_PER_PICTURE))
    images = folder / "images"
    for source in SOURCES:
        (images / source).mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        draw_scene(picture.scene).save(images / picture.path)
    # Every picture is used once before one is used again.
    uses = pictures + [rng.choice(pictures) for _ in range(sum(illustrated) - len(pictures))]
    rng.shuffle(uses)
    remaining = iter(uses)
    records = [
        _record(rng, index, name, next(remaining) if has_image else None)
        for index, (name, has_image) in enumerate(zip(formats, illustrated, strict=True))
    ]
    corpus = folder / "corpus.json"
    corpus.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return corpus, images


def _formats(rng: random.Random, conversations: int) -> list[str]:
    """The format of each conversation: the shares rounded by largest remainder, in random order."""
    exact = {name: _SHARES[name] * conversations for name in FORMATS}
    counts = {name: int(number) for name, number in exact.items()}
    by_remainder = sorted(FORMATS, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: conversations - sum(counts.values())]:
        counts[name] += 1
    formats = [name for name in FORMATS for _ in range(counts[name])]
    rng.shuffle(formats)
    return formats


def _pictures(rng: random.Random, count: int) -> list[_Picture]:
    pictures = []
    for index in range(max(count, 1)):
        source: Source = rng.choices(SOURCES, (5, 3, 2))[0]
        pictures.append(_Picture(f"{source}/{index:06d}.png", imagine_scene(rng, source)))
    return pictures


def _record(rng: random.Random, index: int, name: str, picture: _Picture | None) -> dict[str, object]:
    rounds = _rounds(rng, name, None if picture is None else picture.scene)
    record: dict[str, object] = {"id": f"{index:08d}"}
    if picture is not None:
        question, answer = rounds[0]
        question = f"{question}\n<image>" if rng.random() < 0.2 else f"<image>\n{question}"
        rounds = [(question, answer), *rounds[1:]]
        record["image"] = picture.path
    else:
        record["model"] = ""
    turns = [turn for pair in rounds for turn in zip(("human", "gpt"), pair, strict=True)]
    record["conversations"] = [{"from": speaker, "value": text} for speaker, text in turns]
    return record


def _rounds(rng: random.Random, name: str, scene: Scene | None) -> Rounds:
    """The rounds of a conversation of a format, without the image tag."""
    number = rng.choices((1, 2, 3), (5, 3, 2))[0]
    if name == "choice":
        # ScienceQA's files have no instruction either.
        instruction = _CHOICE if rng.random() < 0.9 else None
        facts = facts_of(rng, scene)[:number] if scene else [fact_without_image(rng) for _ in range(number)]
        return [_choice(rng, fact, scene, instruction) for fact in facts]
    if scene is None:
        return chat(rng)[:number]
    things = rng.sample(scene.things, min(number, len(scene.things)))
    match name:
        case "phrase":
            return [(f"{fact.question}\n{_PHRASE}", fact.answer) for fact in facts_of(rng, scene)[:number]]
        case "caption":
            read = f"\nReference OCR token: {scene.word}" if scene.word and rng.random() < 0.7 else ""
            return [(f"Provide a one-sentence caption for the provided image.{read}", caption_of(rng, scene))]
        case "region":
            return [_region(scene, thing) for thing in things]
        case "box":
            return [_box(rng, scene, thing) for thing in things]
        case _:
            return description(rng, scene)[:number]


def _choice(rng: random.Random, fact: Fact, scene: Scene | None, instruction: str | None) -> tuple[str, str]:
    count = min(rng.choices((2, 3, 4, 5), (2, 2, 5, 2))[0], len(fact.wrong) + 1)
    options = rng.sample(fact.wrong, count - 1)
    gold = rng.choices(range(count), _GOLD_WEIGHTS[:count])[0]
    options.insert(gold, fact.answer)
    lines = [fact.question]
    if scene is not None and rng.random() < 0.15:
        lines.insert(0, f"Context: Everything shown is {scene.place.name}.")
    lines += [f"{symbol}. {option}" for symbol, option in zip(ascii_uppercase, options, strict=False)]
    return "\n".join(lines + ([instruction] if instruction else [])), ascii_uppercase[gold]


def _region(scene: Scene, thing: Thing) -> tuple[str, str]:
    question = f"Provide a short description for this region: {box_of(scene, thing)}."
    return question, f"{with_article(thing.name)} in the {area_of(scene, thing)}"


def _box(rng: random.Random, scene: Scene, thing: Thing) -> tuple[str, str]:
    sentence = rng.choice((f"the {thing.name}", f"the {thing.name} in the {area_of(scene, thing)}"))
    question = f"Provide the bounding box coordinate of the region this sentence describes: {sentence}"
    return question, box_of(scene, thing)
