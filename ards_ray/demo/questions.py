"""Questions whose answers the generator knows: about a scene, and about numbers and words."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from ards_ray.demo.scenes import COLOURS, OBJECTS, SHAPES, WORDS, Scene, Thing

_HORIZONTAL, _VERTICAL = ("left", "middle", "right"), ("upper", "central", "lower")
_AREAS = tuple(f"{vertical} {horizontal}" for vertical in _VERTICAL for horizontal in _HORIZONTAL)
_VOCABULARY = tuple(
    [
        "anchor",
        "basket",
        "candle",
        "dolphin",
        "engine",
        "feather",
        "garden",
        "hammer",
        "island",
        "jacket",
        "kettle",
        "ladder",
        "mirror",
        "needle",
        "orchard",
        "pencil",
        "quarry",
        "ribbon",
        "saddle",
        "tunnel",
        "umbrella",
        "valley",
        "window",
        "yard",
        "acrobat",
        "bridge",
        "cactus",
        "drawer",
        "eagle",
        "forest",
    ]
)
_MIXTURES = {"orange": "red and yellow", "green": "blue and yellow", "purple": "red and blue", "pink": "red and white"}
_OPPOSITES = {"warm": "cold", "early": "late", "heavy": "light", "narrow": "wide", "empty": "full", "quiet": "loud"}


@dataclass(frozen=True)
class Fact:
    """A question, its short answer, and answers that are wrong."""

    question: str
    answer: str
    wrong: tuple[str, ...]


def with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def listed(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def area_of(scene: Scene, thing: Thing) -> str:
    """Which ninth of the picture a thing's middle is in, `upper left` for instance."""
    x, y = scene.centre(thing)
    return f"{_VERTICAL[min(int(y * 3), 2)]} {_HORIZONTAL[min(int(x * 3), 2)]}"


def box_of(scene: Scene, thing: Thing) -> str:
    """A thing's box as fractions of the picture, in the corpora's notation."""
    left, top, right, bottom = thing.box
    edges = (left / scene.width, top / scene.height, right / scene.width, bottom / scene.height)
    return f"[{', '.join(f'{edge:.2f}' for edge in edges)}]"


def caption_of(rng: random.Random, scene: Scene) -> str:
    """One sentence about a scene."""
    names = [with_article(thing.name) for thing in scene.things if thing.kind != "sign"]
    rng.shuffle(names)
    if scene.word is not None:
        sign = scene.things[0]
        board = with_article(sign.name).capitalize()
        return f"{board} that says {scene.word} above {listed(names)} {scene.place.name}."
    opening = rng.choice(("", "You can see ", "The picture shows ")) if len(names) > 1 else ""
    text = f"{opening}{listed(names)} {scene.place.name}."
    return text[0].upper() + text[1:]


def facts_of(rng: random.Random, scene: Scene) -> list[Fact]:
    """Facts about a scene, in random order, each with at least one wrong answer."""
    things = scene.things
    kinds = [thing.kind for thing in things]
    names = [thing.name for thing in things]
    areas = [area_of(scene, thing) for thing in things]
    catalogue = OBJECTS if scene.source == "scenes" else SHAPES
    absent = [f"{colour} {kind}" for colour in COLOURS for kind in catalogue if f"{colour} {kind}" not in names]
    rng.shuffle(absent)
    facts = []
    for kind in dict.fromkeys(kinds):
        facts.append(_count(rng, f"How many {kind}{_plural(kind)} are there?", kinds.count(kind)))
        if kinds.count(kind) == 1:
            colour = things[kinds.index(kind)].colour
            question = rng.choice(
                ("What colour is the {}?", "Which colour does the {} have?", "The {} has which colour?")
            )
            facts.append(Fact(question.format(kind), colour, _others(COLOURS, colour)))
    for thing, area in zip(things, areas, strict=True):
        facts.append(Fact(f"In which part of the picture is the {thing.name}?", area, _others(_AREAS, area)))
        if areas.count(area) == 1:
            question = rng.choice(("What is in the {} of the picture?", "Which thing is found in the {}?"))
            facts.append(Fact(question.format(area), thing.name, tuple(absent[:6])))
        other = rng.choice([other for other in things if other is not thing])
        distance = scene.centre(other)[0] - scene.centre(thing)[0]
        if abs(distance) > 0.15:
            facts.append(_yes_or_no(f"Is the {thing.name} to the left of the {other.name}?", distance > 0))
    facts.append(_yes_or_no(f"Is there {with_article(absent[0])} in the picture?", False))
    facts.append(_yes_or_no(f"Is there {with_article(rng.choice(names))} in the picture?", True))
    if scene.word is not None:
        question = rng.choice(("What does the sign say?", "Which word is written on the sign?"))
        facts.append(Fact(question, scene.word, _others(WORDS, scene.word)))
    if scene.source == "scenes":
        night = scene.place.name.endswith("at night")
        facts.append(Fact("When was this?", *(("at night", ("by day",)) if night else ("by day", ("at night",)))))
    rng.shuffle(facts)
    return facts


def fact_without_image(rng: random.Random) -> Fact:
    """A fact that needs no picture."""
    a, b = rng.randint(2, 60), rng.randint(2, 60)
    words = rng.sample(_VOCABULARY, 5)
    colour, mixture = rng.choice(list(_MIXTURES.items()))
    return rng.choice(
        (
            _count(rng, f"What is {a} plus {b}?", a + b),
            _count(rng, f"How many letters does the word {words[0]} have?", len(words[0])),
            Fact("Which of these words comes first in a dictionary?", min(words), _others(words, min(words))),
            Fact(f"Which paints give {colour} when they are mixed?", mixture, _others(_MIXTURES.values(), mixture)),
        )
    )


def description(rng: random.Random, scene: Scene) -> list[tuple[str, str]]:
    """Open questions about a scene with answers of a sentence or more, in random order."""
    thing = rng.choice(scene.things)
    area = area_of(scene, thing)
    first, second = sorted(scene.things, key=scene.centre)[:2]
    parts = [f"The {one.name} is in the {area_of(scene, one)}." for one in scene.things]
    rng.shuffle(parts)
    word = f" The sign says {scene.word}." if scene.word is not None else ""
    colours = list(dict.fromkeys(one.colour for one in scene.things))
    number = f"{len(colours)} different colours" if len(colours) > 1 else "a single colour"
    rounds: list[tuple[str, str]] = [
        (
            rng.choice(("Describe the picture in detail.", "What do you see here?", "Tell me about this picture.")),
            f"{caption_of(rng, scene)} {' '.join(parts)}{word}",
        ),
        (
            f"Where would I look for the {thing.name}, and how sure are you?",
            f"Look in the {area} of the picture. I am sure, since it is the only {thing.name}.",
        ),
        (
            "Which colours do the things have?",
            f"They have {number}: {listed(colours)}.\nEverything is {scene.place.name}.",
        ),
    ]
    if scene.centre(second)[0] - scene.centre(first)[0] > 0.05:
        question = rng.choice(("Which thing is furthest to the left?", "What comes first from the left?"))
        rounds.append((question, f"It is the {first.name}, in the {area_of(scene, first)}; the {second.name} follows."))
    rng.shuffle(rounds)
    return rounds


def chat(rng: random.Random) -> list[tuple[str, str]]:
    """Rounds of a conversation without a picture, in random order."""
    a, b, step = rng.randint(12, 99), rng.randint(2, 11), rng.randint(2, 9)
    words = rng.sample(_VOCABULARY, rng.randint(3, 5))
    colour, mixture = rng.choice(list(_MIXTURES.items()))
    plain, opposite = rng.choice(list(_OPPOSITES.items()))
    series = [str(b + step * index) for index in range(5)]
    name = rng.choice(words)
    rounds = [
        (f"What is {a} minus {b}?", f"{a} minus {b} is {a - b}."),
        (f"Count from {b} in steps of {step}, five numbers please.", f"Here they are: {listed(series)}."),
        (f"Sort these words alphabetically: {', '.join(words)}", "\n".join(f"- {word}" for word in sorted(words))),
        (
            f"How do I mix {colour} paint?",
            f"Mix {mixture} in equal parts, then add a little more of one until you like it.",
        ),
        (
            f"Give me the opposite of {plain}, with an example.",
            f'The opposite is "{opposite}": not {plain} but {opposite}.',
        ),
        (f"Spell {name} backwards.", f"{name[::-1].capitalize()}, which is {name} read from its end."),
        (
            f"Write a Python function that adds {b} to a number and multiplies by {step}.",
            f"```python\ndef change(number):\n    return (number + {b}) * {step}\n```\n1 becomes {(1 + b) * step}.",
        ),
    ]
    rng.shuffle(rounds)
    return rounds


def _plural(kind: str) -> str:
    return "es" if kind == "cross" else "s"


def _others(values: Iterable[str], answer: str) -> tuple[str, ...]:
    return tuple(value for value in values if value != answer)


def _yes_or_no(question: str, yes: bool) -> Fact:
    return Fact(question, *(("Yes", ("No",)) if yes else ("No", ("Yes",))))


def _count(rng: random.Random, question: str, count: int) -> Fact:
    near = [number for number in range(max(count - 4, 0), count + 5) if number != count]
    return Fact(question, str(count), tuple(str(number) for number in rng.sample(near, 4)))
