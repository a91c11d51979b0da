"""JSON arrays: every record once and unchanged, an error that tells where a file is broken, and the mixture."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from corpora import conversation, read, refusal, slices, texts, write

from ards_ray.corpus.readers import Entry, read_corpus
from ards_ray.corpus.sources import source
from ards_ray.corpus.sources.json_array import JsonArray
from ards_ray.errors import CorpusError


@pytest.mark.parametrize("indent", [None, 2])
def test_json_array_gives_every_record_in_order(tmp_path: Path, indent: int | None) -> None:
    """Without it conversations are lost, or the mixture holds others than were scored."""
    records = [conversation(number) for number in range(5)]
    file = write(tmp_path / "c.json", json.dumps(records, indent=indent))
    entries = read(file)
    assert [entry.row for entry in entries] == [0, 1, 2, 3, 4]
    assert [json.loads(entry.record) for entry in entries] == records
    assert entries[3] == Entry(3, "c3", file, "image", ("coco/3.jpg",), entries[3].record)
    assert "\n" not in entries[3].record


def test_every_truncation_of_an_array_is_refused(tmp_path: Path) -> None:
    """Half a download must not become a run on half of the corpus."""
    content = json.dumps([conversation(0, n=12.5), conversation(1, t=True)]).encode()
    for end in range(1, len(content)):
        message = refusal(write(tmp_path / "c.json", content[:end]))
        assert "after 0 conversations" in message or "after 1 conversations" in message or "after 2 conv" in message


def test_truncated_array_says_where(tmp_path: Path) -> None:
    """The user has to know how much is missing."""
    content = json.dumps([conversation(0), conversation(1), conversation(2)])
    cut = content[: content.index("c2") + 1]
    message = refusal(write(tmp_path / "c.json", cut))
    assert "c.json: cut off after 2 conversations" in message
    assert f"ends at byte {len(cut)}" in message


def test_conversations_before_the_break_are_yielded(tmp_path: Path) -> None:
    """The error names a count: it must be the count of what came."""
    stream = read_corpus([write(tmp_path / "c.json", '[{"id": 1}, {"id": 2}, {"id" 3}]')])
    assert [next(stream).id, next(stream).id] == ["1", "2"]
    with pytest.raises(CorpusError, match="after 2 conversations, at byte 29: Expecting ':'"):
        next(stream)


@pytest.mark.parametrize(
    ("content", "after", "byte"),
    [
        ('["é", {}] x', 2, 11),
        ("[{}][{}]", 1, 4),
        ("[{}]]", 1, 4),
        ("[{} {}]", 1, 4),
        ("[{},]", 1, 4),
        ('[{"a": tru}]', 0, 7),
        ('[{"é": 1}, {"a": \'b\'}]' + " " * 200, 1, 18),
        ("[{}, " + "[" * 100_000, 1, 5),
        ("[{}, " + "1" * 5000 + "]", 1, 5),
    ],
)
def test_broken_array_says_where(tmp_path: Path, content: str, after: int, byte: int) -> None:
    """In a file of a gigabyte nobody finds an error without its position."""
    message = refusal(write(tmp_path / "c.json", content))
    assert f"after {after} conversations, at byte {byte}: " in message


def test_broken_array_position_in_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The position counts from the file's start, in bytes, however the file was cut into chunks."""
    monkeypatch.setattr(source, "CHUNK_BYTES", 1000)
    good = json.dumps([conversation(number, note="é") for number in range(200)], ensure_ascii=False)[:-1]
    message = refusal(write(tmp_path / "c.json", good + ', {"a":: 1}, ' + '{"b": 1},' * 2000))
    assert f"after 200 conversations, at byte {len(good.encode()) + 7}: " in message


@pytest.mark.parametrize("sizes", [(), (1,), (0, 2)])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_mixture_has_a_record_in_each_line(count: int, sizes: tuple[int, ...]) -> None:
    """A training script reads it with `json.load`, a person with `grep`."""
    records = texts(count)
    (file,) = JsonArray.mixture([], np.ones(count, bool), slices(records, *sizes))
    stream = io.BytesIO()
    assert file.name == "mixture.json"
    assert file.write(stream) == count
    text = stream.getvalue().decode()
    assert text == ("[\n  " + ",\n  ".join(records) + "\n]\n" if count else "[]\n")
    assert json.loads(text) == [json.loads(record) for record in records]


def test_mixture_is_a_corpus_again(tmp_path: Path) -> None:
    """What is read and written unchanged stays the same, text for text."""
    records = [{"id": 1, "z": 0.1, "a": [None, 2**80], "t": "é\ud83d \u2028"}, [], "x", {"conversations": []}]
    written = [entry.record for entry in read(write(tmp_path / "a.json", json.dumps(records)))]
    (file,) = JsonArray.mixture([], np.ones(len(records), bool), slices(written))
    with (tmp_path / "b.json").open("wb") as stream:
        file.write(stream)
    assert json.loads((tmp_path / "b.json").read_text()) == records
    assert [entry.record for entry in read(str(tmp_path / "b.json"))] == written
