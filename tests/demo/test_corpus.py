import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ards_ray.corpus.choice import Choice, parse_choice
from ards_ray.corpus.conversation import normalise_turn, parse_conversation
from ards_ray.corpus.formats import FORMATS, format_of
from ards_ray.demo.corpus import write_corpus
from ards_ray.demo.scenes import COLOURS

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_corpus(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def images(written: tuple[Path, Path]) -> Path:
    return written[1]


@pytest.fixture(scope="module")
def records(written: tuple[Path, Path]) -> Records:
    content: Records = json.loads(written[0].read_text(encoding="utf-8"))
    return content


def _format(record: dict[str, Any]) -> str:
    return format_of(record, "image" in record)


def _rounds(record: dict[str, Any]) -> list[tuple[str, str]]:
    values = [turn["value"] for turn in record["conversations"]]
    return list(zip(map(normalise_turn, values[0::2]), values[1::2], strict=True))


def _choices(records: Records) -> list[tuple[dict[str, Any], Choice | None]]:
    """Every round of the conversations of format `choice`, parsed, with its record."""
    return [
        (record, parse_choice(*pair)) for record in records if _format(record) == "choice" for pair in _rounds(record)
    ]


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_format_has_its_share(records: Records) -> None:
    """A format that is missing is a part of the job that the first trial does not show."""
    shares = {name: number / len(records) for name, number in Counter(map(_format, records)).items()}
    assert len(records) == 400
    assert set(shares) == set(FORMATS)
    assert shares["choice"] == pytest.approx(0.25, abs=0.02)
    assert min(shares.values()) >= 0.08


def test_every_conversation_can_be_scored(records: Records) -> None:
    """A trial run would end with failed conversations and the user would look for a mistake of their own."""
    lengths = Counter(
        len(parse_conversation(row, _format(record), (), json.dumps(record)).rounds)
        for row, record in enumerate(records)
    )
    assert set(lengths) == {1, 2, 3}


def test_conversations_without_a_picture_look_like_llavas(records: Records) -> None:
    """The reader would be tried on tidier records than those of published corpora."""
    without = [record for record in records if "image" not in record]
    assert {_format(record) for record in without} == {"text", "choice"}
    assert all(record["model"] == "" for record in without)


def test_pictures_open_and_vary(records: Records, images: Path) -> None:
    """Padding to a square, tables by source and shared pictures would not be exercised, or pictures not found."""
    named = [record["image"] for record in records if "image" in record]
    assert len(named) / len(set(named)) == pytest.approx(1.6, abs=0.05)
    assert {str(path.relative_to(images)) for path in images.rglob("*.png")} == set(named)
    assert {name.split("/")[0] for name in named} == {"shapes", "scenes", "signs"}
    sizes = set()
    for name in set(named):
        with Image.open(images / name) as image:
            image.load()
            sizes.add(image.size)
    assert all(64 <= side <= 160 for size in sizes for side in size)
    assert len(sizes) > 20
    assert any(width != height for width, height in sizes)


def test_a_region_shows_what_is_said_of_it(records: Records, images: Path) -> None:
    """Losses and mixtures of the trial would mean nothing if the text were not about the picture."""
    checked = 0
    for record in records:
        for question, answer in _rounds(record) if _format(record) in ("region", "box") else []:
            text = f"{question} {answer}"
            edges = [float(number) for number in re.findall(r"\d\.\d\d", text)]
            colour = next(word for word in text.split() if word in COLOURS)
            with Image.open(images / record["image"]) as image:
                left, right = (round(edge * image.width) for edge in edges[0::2])
                top, bottom = (round(edge * image.height) for edge in edges[1::2])
                crop = image.crop((left, top, right, bottom))
            pixels = [crop.getpixel((x, y)) for x in range(crop.width) for y in range(crop.height)]
            assert pixels.count(COLOURS[colour]) > len(pixels) / 6, record["id"]
            checked += 1
    assert checked > 88


def test_multiple_choice_parses_with_two_to_five_options(records: Records) -> None:
    """The symbol and permutation attacks would leave the round alone."""
    choices = [choice for _, choice in _choices(records)]
    assert all(choice is not None for choice in choices)
    parsed = [choice for choice in choices if choice is not None]
    assert {len(choice.options) for choice in parsed} == {2, 3, 4, 5}
    assert all(len(set(choice.options)) == len(choice.options) for choice in parsed)
    assert {bool(choice.instruction) for choice in parsed} == {True, False}


def test_the_gold_option_is_the_true_one(records: Records, images: Path) -> None:
    """A wrong gold option would make every accuracy under attack wrong."""
    checked: Counter[str] = Counter()
    for record, choice in _choices(records):
        assert choice is not None
        question, gold = choice.stem[-1], choice.options[choice.gold]
        if sum_ := re.fullmatch(r"What is (\d+) plus (\d+)\?", question):
            assert int(gold) == int(sum_[1]) + int(sum_[2])
            checked["sum"] += 1
        elif word := re.fullmatch(r"How many letters does the word (\w+) have\?", question):
            assert int(gold) == len(word[1])
            checked["letters"] += 1
        elif "comes first in a dictionary" in question:
            assert gold == min(choice.options)
            checked["dictionary"] += 1
        elif "colour" in question:
            with Image.open(images / record["image"]) as image:
                colours = {image.getpixel((x, y)) for x in range(image.width) for y in range(image.height)}
            assert COLOURS[gold] in colours
            checked["colour"] += 1
    assert checked["colour"] > 5
    assert sum(checked.values()) > checked["colour"] + 3


def test_gold_positions_are_skewed(records: Records) -> None:
    """The trial would hide that a model can win by always answering A, which the permutation attack shows."""
    four = [choice.gold for _, choice in _choices(records) if choice is not None and len(choice.options) >= 4]
    assert four.count(0) > 2 * four.count(3) > 0


def test_the_seed_decides_every_byte(written: tuple[Path, Path], tmp_path: Path) -> None:
    """Two people who try the same command could not compare what they see."""
    write_corpus(tmp_path / "same")
    write_corpus(tmp_path / "other", seed=43)
    expected = _contents(written[0].parent)
    assert _contents(tmp_path / "same") == expected
    other = _contents(tmp_path / "other")
    assert other["corpus.json"] != expected["corpus.json"]
    pictures = [name for name in other.keys() & expected.keys() if name.endswith(".png")]
    assert any(other[name] != expected[name] for name in pictures)


@pytest.mark.parametrize("conversations", [1, 7, 20])
def test_a_small_corpus_has_the_number_asked_for(conversations: int, tmp_path: Path) -> None:
    """A quick trial with a handful of conversations would fail or be larger than asked for."""
    corpus, images = write_corpus(tmp_path, conversations)
    records: Records = json.loads(corpus.read_text(encoding="utf-8"))
    assert len(records) == conversations
    assert all((images / record["image"]).is_file() for record in records if "image" in record)
    if conversations >= len(FORMATS):
        assert set(map(_format, records)) == set(FORMATS)
