"""A corpus without round numbers, and what each of its conversations is."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from loops import loop_select, selected_rows

CONVERSATIONS = 137


@dataclass(frozen=True)
class Corpus:
    """A corpus and its conversations, as the methods should see them.

    Attributes:
        corpus: The corpus file.
        images: The image folder.
        model: A checkpoint.
        records: The records of the corpus file.
        sources: The first folder of each record's image path.
        formats: The format of each.
    """

    corpus: Path
    images: Path
    model: Path
    records: list[dict[str, Any]]
    sources: list[str]
    formats: list[str]


def format_of(record: dict[str, Any]) -> str:
    """The format, told by the demo's fixed phrases."""
    question = record["conversations"][0]["value"]
    answer = record["conversations"][1]["value"]
    if "\nA. " in question:
        return "choice"
    if "image" not in record:
        return "text"
    marks = {
        "single word or phrase": "phrase",
        "one-sentence caption": "caption",
        "short description for this region": "region",
        "bounding box coordinate": "box",
    }
    assert answer
    return next((name for mark, name in marks.items() if mark in question), "image")


@pytest.fixture(scope="package")
def corpus(demo_inputs: Any, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """137 conversations: of no budget of 10, 20 or 30 % does that make a whole number."""
    records = json.loads(demo_inputs.corpus.read_text())[:CONVERSATIONS]
    file = tmp_path_factory.mktemp("methods") / "corpus.json"
    file.write_text(json.dumps(records))
    sources = [record["image"].split("/")[0] if "image" in record else "(no image)" for record in records]
    return Corpus(file, demo_inputs.images, demo_inputs.model, records, sources, [*map(format_of, records)])


Chosen = Callable[..., list[int]]


@pytest.fixture
def chosen(corpus: Corpus, tmp_path: Path) -> Chosen:
    """Runs a method that needs no model and gives the rows of its mixture, which is checked to have their records."""

    def run(method: str, output: str = "run", **settings: Any) -> list[int]:
        folder = tmp_path / output
        done = loop_select(corpus, folder, method, proxy__model=None, **settings).methods[method]
        rows = selected_rows(folder, method)
        assert json.loads(Path(done.url).read_text()) == [corpus.records[row] for row in rows]
        assert done.summary["selected"] == len(rows)
        assert done.summary["scored"] == done.summary["conversations"] == CONVERSATIONS
        return rows

    return run
