"""JSON Lines: every record once and unchanged, an error that tells where a file is broken, and the mixture."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from corpora import conversation, read, refusal, slices, texts, write

from ards_ray.corpus.sources.json_lines import JsonLines


def test_json_lines_are_told_from_an_array_by_content(tmp_path: Path) -> None:
    """A file's name does not say which of the two it is; guessing wrong would refuse half of the published sets."""
    lines = "\n\n".join(json.dumps(conversation(number)) for number in range(3)) + "\r\n \t\n"
    assert [entry.id for entry in read(write(tmp_path / "c.json", lines))] == ["c0", "c1", "c2"]
    assert [entry.id for entry in read(write(tmp_path / "d.jsonl", lines.rstrip()))] == ["c0", "c1", "c2"]


def test_broken_json_line_is_named(tmp_path: Path) -> None:
    """As for arrays: the user has to find it."""
    message = refusal(write(tmp_path / "c.jsonl", '{"id": 1}\n\n{"id": }\n'))
    assert "broken JSON in line 3, column 8" in message
    assert "broken JSON in line 1" in refusal(write(tmp_path / "c.jsonl", '{"id": 1} {"id": 2}\n'))
    assert "broken JSON in line 2" in refusal(write(tmp_path / "c.jsonl", '{"id": 1}\n{"id": ' + "1" * 5000 + "}"))
    assert "line 2 is nested too deeply" in refusal(write(tmp_path / "c.jsonl", "{}\n" + "[" * 100_000))


def test_single_object_is_no_corpus(tmp_path: Path) -> None:
    """`{"data": [...]}` would pass for a corpus of a single, failed conversation."""
    record = {"data": [conversation(0)]}
    assert "a single JSON object" in refusal(write(tmp_path / "c.json", json.dumps(record)))
    assert "ends within a JSON object" in refusal(write(tmp_path / "c.json", json.dumps(record, indent=2)))
    assert len(read(write(tmp_path / "c.json", json.dumps(conversation(0))))) == 1


@pytest.mark.parametrize("sizes", [(), (1,), (0, 2)])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_mixture_has_a_record_in_each_line(count: int, sizes: tuple[int, ...]) -> None:
    """A training script that reads JSON Lines, as it read the corpus, reads the mixture."""
    records = texts(count)
    (file,) = JsonLines.mixture([], np.ones(count, bool), slices(records, *sizes))
    stream = io.BytesIO()
    assert file.name == "mixture.jsonl"
    assert file.write(stream) == count
    assert stream.getvalue().decode() == "".join(f"{record}\n" for record in records)


def test_mixture_is_a_corpus_again(tmp_path: Path) -> None:
    """A line separator within a text would make two broken records of one."""
    records = [{"id": 1, "z": 0.1, "a": [None, 2**80], "t": "é\ud83d \u2028 \n \r"}, [], "x", {"conversations": []}]
    lines = "\n".join(json.dumps(record) for record in records)
    written = [entry.record for entry in read(write(tmp_path / "a.jsonl", lines))]
    (file,) = JsonLines.mixture([], np.ones(len(records), bool), slices(written))
    with (tmp_path / "b.jsonl").open("wb") as stream:
        file.write(stream)
    assert (tmp_path / "b.jsonl").read_bytes().count(b"\n") == len(records)
    assert [json.loads(line) for line in (tmp_path / "b.jsonl").open()] == records
    assert [entry.record for entry in read(str(tmp_path / "b.jsonl"))] == written
