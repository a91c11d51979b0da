"""Finding and reading benchmark files: whatever is wrong with one is said with its name."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ards_ray.errors import ConversationError, SettingsError
from ards_ray.evaluation.benchmarks.files import find_file, letter_index, read_json, read_records
from ards_ray.storage.location import locate


def test_a_file_or_its_folder(tmp_path: Path) -> None:
    """Either may be named; the first name that is there is taken."""
    (tmp_path / "b.json").write_text("{}")
    assert find_file(str(tmp_path / "b.json"), "a.json").path == str(tmp_path / "b.json")
    assert find_file(str(tmp_path), "a.json", "b.json").path == str(tmp_path / "b.json")
    with pytest.raises(SettingsError, match=r"gone: not found"):
        find_file(str(tmp_path / "gone"), "a.json")
    with pytest.raises(SettingsError, match=r"no a\.json or c\.json in this folder"):
        find_file(str(tmp_path), "a.json", "c.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_broken_json(tmp_path: Path, content: bytes) -> None:
    """A download that broke off is named, not shown as a traceback."""
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"a\.json: not valid JSON"):
        read_json(locate(str(file)))


def test_records(tmp_path: Path) -> None:
    """The same set is published as JSON Lines and as Parquet; its name does not always tell."""
    records = [{"id": "1", "text": "ä"}, {"id": "2", "text": "b"}]
    lines = tmp_path / "a"
    lines.write_text("\ufeff" + "\n\n".join(json.dumps(record) for record in records) + "\r\n")
    table = tmp_path / "b"
    pq.write_table(pa.Table.from_pylist([{**record, "more": 1} for record in records]), table)
    assert list(read_records(locate(str(lines)), ["id", "text"])) == records
    assert list(read_records(locate(str(table)), ["id", "text"])) == records
    with pytest.raises(SettingsError, match=r"b: no column 'passage' among id, text, more"):
        list(read_records(locate(str(table)), ["passage"]))
    lines.write_text('{"id": 1}\n{"id"\n')
    with pytest.raises(SettingsError, match="a: line 2 is not valid JSON"):
        list(read_records(locate(str(lines)), ["id"]))


def test_letters() -> None:
    """`?` and the empty string stand for a gold answer that is not told."""
    assert [letter_index(letter, 26) for letter in ("A", " C ", "Z")] == [0, 2, 25]
    assert {letter_index(letter, 4) for letter in ("?", "", " ")} == {None}
    for letter in ("E", "a", "AB", "1", "Ä"):
        with pytest.raises(ConversationError, match=f"gold answer out of range: {letter} is none of A, B, C, D"):
            letter_index(letter, 4)


def test_keys_that_stand_there_twice(tmp_path: Path) -> None:
    """Of two questions with one id the first would be gone without a word."""
    (tmp_path / "a.json").write_text('{"1": {"question": "x"}, "2": {}, "1": {"question": "y"}}')
    with pytest.raises(SettingsError, match=r"a\.json: not valid JSON \(the key '1' stands in an object twice\)"):
        read_json(locate(str(tmp_path / "a.json")))
