"""The transformers engine beside the library's own generation, one request at a time."""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapters import write_adapter
from evaluation_brute_force import PlainModel
from families import write_llava_next, write_qwen
from PIL import Image
from transformers import AutoModelForImageTextToText

from ards_ray.config import ProxySettings
from ards_ray.errors import ConversationError, SettingsError
from ards_ray.evaluation.engine import Ask, EngineSettings, Score, Shown, first_tokens
from ards_ray.evaluation.hf_engine import HfEngine
from ards_ray.models.family import load_model

LETTERS = tuple("ABCD")
# Tokens of their own, and nothing that the model ever says.
WORDS = ("red", "blue", "star", "circle")
SIZES = ((200, 70), (60, 190), (56, 56))


def settings(
    score: Score = "generate", budget: int = 16_384, adapter: str | None = None, answer: int = 64
) -> EngineSettings:
    return EngineSettings("hf", ProxySettings(None, adapter, "float32", "cpu"), score, answer, budget)


def shown(engine: HfEngine, image: Image.Image, key: str) -> Shown:
    return Shown(key, engine.inputs.picture(image), image)


def asks_of(engine: HfEngine, answering: Any, count: int) -> list[Ask]:
    """The benchmark's first questions as they stand."""
    asks = []
    for record in json.loads(answering.benchmark.read_text())[:count]:
        with Image.open(answering.images / record["image"]) as image:
            picture = shown(engine, image.convert("RGB"), record["image"])
        lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, record["options"], strict=False)]
        instruction = "Answer with the option's letter from the given choices directly."
        prompt = "\n".join(["<image>", record["question"], *lines, instruction])
        asks.append(Ask(prompt, (picture,), LETTERS[: len(lines)]))
    return asks


def test_answers_are_the_librarys(answering: Any) -> None:
    """Padding, prompt, pictures or positions that differ from plain generation give another model's accuracy."""
    engine = HfEngine(settings(), answering.model)
    plain = PlainModel(answering.model)
    asks = asks_of(engine, answering, 40)
    expected = [plain.answer(ask.prompt.removeprefix("<image>\n"), ask.images[0].image) for ask in asks]
    assert len(set(expected)) > 2
    assert engine.answer(asks) == expected


@pytest.mark.parametrize("score", ["generate", "letters"])
def test_company_does_not_matter(answering: Any, score: Score) -> None:
    """Accuracy that depends on the batch size is the best-known defect of evaluators."""
    engine = HfEngine(settings(score), answering.model)
    asks = asks_of(engine, answering, 40)
    together = engine.answer(asks)
    shuffled = list(range(len(asks)))
    random.Random(1).shuffle(shuffled)
    assert engine.answer([asks[index] for index in shuffled]) == [together[index] for index in shuffled]
    for budget in (1, 500):
        assert HfEngine(settings(score, budget), answering.model).answer(asks) == together


def test_letters_are_ranked(answering: Any) -> None:
    """The symbol that is likeliest next, even where the model would rather say something else."""
    engine = HfEngine(settings("letters"), answering.model)
    asks = asks_of(engine, answering, 12)
    asks = [Ask(ask.prompt, ask.images, WORDS) for ask in asks]
    plain = PlainModel(answering.model)
    ids = [plain.tokenizer(f" {symbol}", add_special_tokens=False).input_ids[0] for symbol in WORDS]
    expected = []
    for ask in asks:
        logits = plain.logits(ask.prompt.removeprefix("<image>\n"), ask.images[0].image)
        expected.append(WORDS[int(logits[ids].argmax())])
    assert engine.answer(asks) == expected


def test_symbols_that_begin_alike_cannot_be_ranked(answering: Any) -> None:
    """The first token would decide between them by chance."""
    engine = HfEngine(settings("letters"), answering.model)
    ask = asks_of(engine, answering, 1)[0]
    with pytest.raises(SettingsError, match="do not tell"):
        engine.answer([Ask(ask.prompt, ask.images, ("漢", "字"))])


def test_answers_that_are_too_long_are_marked(answering: Any) -> None:
    """A model that explains before it answers would be called wrong, and nobody would know why."""
    asks = asks_of(HfEngine(settings(), answering.model), answering, 12)
    whole = HfEngine(settings(answer=2), answering.model).answer(asks)
    assert whole == HfEngine(settings(), answering.model).answer(asks)
    assert HfEngine(settings(answer=1), answering.model).answer(asks) == [f"{answer}…" for answer in whole]


def test_answers_end_where_the_checkpoint_says(answering: Any, tmp_path: Path) -> None:
    """Qwen2.5-VL has two such tokens, and vLLM knows both: an engine that runs over one of them says another answer."""
    model = Path(shutil.copytree(answering.model, tmp_path / "model"))
    engine = HfEngine(settings(), model)
    letter = first_tokens(engine.inputs, ["B"])[0]
    asks = asks_of(engine, answering, 40)
    answers = engine.answer(asks)
    assert "B" in answers
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, letter]}))
    assert HfEngine(settings(), model).answer(asks) == ["" if answer == "B" else answer for answer in answers]
    (model / "generation_config.json").write_text("{")
    with pytest.raises(SettingsError, match=r"generation_config\.json: cannot be read"):
        HfEngine(settings(), model)


def test_a_batch_that_does_not_fit_is_halved(answering: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is a little too small would end the evaluation; a request that is too large by itself costs itself."""
    engine = HfEngine(settings(), answering.model)
    asks = asks_of(engine, answering, 20)
    expected: list[Any] = engine.answer(asks)
    say = engine._say
    batches = []

    def with_little_memory(some: Sequence[Ask], prompts: Sequence[np.ndarray]) -> list[str]:
        batches.append(len(some))
        if len(some) > 4 or asks[7] in some:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return say(some, prompts)

    monkeypatch.setattr(engine, "_say", with_little_memory)
    answers = engine.answer(asks)
    assert str(answers.pop(7)).startswith("does not fit the memory: ")
    assert answers == expected[:7] + expected[8:]
    assert max(batches) == 20


def test_requests_that_cannot_be_put(answering: Any) -> None:
    """One question's trouble is not the others'."""
    engine = HfEngine(settings(), answering.model)
    ask = asks_of(engine, answering, 1)[0]
    long = Ask("word " * 5000, (), LETTERS)
    reserved = Ask("What is <pad>?", (), LETTERS)
    answers = engine.answer([long, ask, reserved])
    assert isinstance(answers[0], ConversationError)
    assert str(answers[0]).startswith("prompt is too long: ")
    assert answers[1] == engine.answer([ask])[0]
    assert isinstance(answers[2], ConversationError)


def test_adapters_are_merged(answering: Any, tmp_path: Path) -> None:
    """An adapter that is not merged leaves the table of the base model under another name."""
    model = write_adapter(answering.model, tmp_path / "adapter", 0.3)
    model.merge_and_unload().save_pretrained(tmp_path / "merged")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "merged" / name).write_text((answering.model / name).read_text())
    engine = HfEngine(settings(adapter=str(tmp_path / "adapter")), answering.model)
    asks = asks_of(engine, answering, 12)
    expected = HfEngine(settings(), tmp_path / "merged").answer(asks)
    assert engine.answer(asks) == expected
    assert expected != HfEngine(settings(), answering.model).answer(asks)


Library = Callable[[Any, Sequence[int], Sequence[Shown]], list[int]]


@pytest.mark.parametrize("name", ["llava", "next-llama", "next-mistral", "qwen"])
def test_every_family(demo_inputs: Any, tmp_path: Path, name: str) -> None:
    """Tiles, grids, positions in three dimensions, several pictures: each family answers as the library's own model."""
    folder = tmp_path / name
    if name == "llava":
        folder = demo_inputs.model
    elif name == "qwen":
        write_qwen(folder, ["Which colour does the shape have? It is red, a small kite above the sea."] * 20)
    else:
        write_llava_next(folder, demo_inputs.model, name.removeprefix("next-"))
    engine = HfEngine(settings(answer=6), folder)
    rng = np.random.default_rng(4)
    images = [Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)) for size in SIZES]
    pictures = [shown(engine, image, str(size)) for image, size in zip(images, SIZES, strict=True)]
    asks = [
        Ask("<image>\nWhat is this?", (pictures[0],), ()),
        Ask("<image>\n<image>\nWhich of these two is the larger one?", (pictures[1], pictures[2]), ()),
        Ask("Tell me.", (), ()),
        Ask("<image>\nAnd this?", (pictures[1],), ()),
    ]
    library: Any = AutoModelForImageTextToText.from_pretrained(folder).eval()
    model = load_model(folder, ProxySettings(dtype="float32", device="cpu"))
    said = [generated(library, model, engine, ask) for ask in asks]
    assert len(set(said)) == len(said)
    assert engine.answer(asks) == said


def generated(library: Any, model: Any, engine: HfEngine, ask: Ask) -> str:
    """The library's own model, given pixels and grids; it makes of them features and positions itself."""
    ids = torch.from_numpy(engine.inputs.encode_question(ask.prompt, [one.picture for one in ask.images])).long()[None]
    end = {"llava": 2, "llava_next": 2}.get(library.config.model_type)
    if library.config.model_type == "qwen2_5_vl":
        end = engine.inputs.tokenizer.convert_tokens_to_ids("<|im_end|>")
    given: dict[str, Any] = {}
    if ask.images and library.config.model_type == "qwen2_5_vl":
        given["pixel_values"] = torch.cat([model._patches(one.picture) for one in ask.images])
        given["image_grid_thw"] = torch.tensor(
            [(1, one.picture.pixels.shape[1] // 14, one.picture.pixels.shape[2] // 14) for one in ask.images]
        )
        given["mm_token_type_ids"] = (ids == engine.inputs.image_token).int()
    elif ask.images:
        tiles = [model.tower._normalise(one.picture.pixels) for one in ask.images]
        if library.config.model_type == "llava_next":
            most = max(map(len, tiles))
            tiles = [torch.nn.functional.pad(one, (0, 0, 0, 0, 0, 0, 0, most - len(one))) for one in tiles]
            given["pixel_values"] = torch.stack(tiles)
            given["image_sizes"] = torch.tensor([one.picture.size for one in ask.images])
        else:
            given["pixel_values"] = torch.cat(tiles)
    out = library.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=6,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=0,
        suppress_tokens=list(range(model.vocabulary, library.get_output_embeddings().weight.shape[0])),
        **given,
    )
    said = engine.inputs.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()
    return said if out[0, -1] == end else f"{said}…"
