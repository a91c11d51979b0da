"""Reading a corpus: every conversation once, unchanged, whatever its file's form."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from corpora import IMAGE, TURNS, conversation, parquet, read, refusal, write

from ards_ray.corpus.readers import embedded_row
from ards_ray.corpus.sources import source


@pytest.mark.parametrize("content", ["[{}]", " \n [{}]", "{}\n{}"])
def test_byte_order_mark_is_tolerated(tmp_path: Path, content: str) -> None:
    """Files saved on Windows begin with one."""
    assert len(read(write(tmp_path / "c.json", b"\xef\xbb\xbf" + content.encode()))) in (1, 2)


def test_record_keeps_keys_order_and_values(tmp_path: Path) -> None:
    """The mixture is to be a drop-in training file: a changed value or a lost key would silently change training."""
    text = (
        '{"z": 1, "id": 7, "big": 123456789012345678901234567890, "tiny": 1e-320, "float": 0.1, "one": 1.0, '
        '"nan": NaN, "text": "caf\\u00e9 \\ud83d\\ude00 \\u2028 \\u0000", "nested": {"b": [null, true, {}], "a": []}}'
    )
    expected = json.loads(text)
    for content in (f"[{text}]", text + "\n" + text):
        entry = read(write(tmp_path / "c.json", content))[0]
        assert repr(json.loads(entry.record)) == repr(expected)
        assert entry.id == "7"
        assert "café 😀" in entry.record


def test_half_surrogate_pairs_do_not_stop_the_job(tmp_path: Path) -> None:
    """JSON can spell what no Arrow string holds; one such record would end the run when its part is written."""
    record = conversation(0, id="\ud83d", image="a\udc00.jpg", note="\ud83dé")
    entry = read(write(tmp_path / "c.json", json.dumps([record])))[0]
    assert json.loads(entry.record) == record
    assert pa.array([entry.id, *entry.images, entry.record]).to_pylist()[1] == r"a\udc00.jpg"


@pytest.mark.parametrize("record", [1, None, "text", [], [{}], {}, {"id": None}, {"conversations": 3}])
def test_records_that_are_no_conversations_are_entries_too(tmp_path: Path, record: Any) -> None:
    """They must become failed rows; dropped here, the counts of the summary would not add up."""
    entries = read(write(tmp_path / "c.json", json.dumps([record, conversation(1)])))
    assert [(entry.row, entry.id) for entry in entries] == [(0, ""), (1, "c1")]
    assert json.loads(entries[0].record) == record
    assert (entries[0].images, entries[0].format) == ((), "text")
    lines = json.dumps(conversation(0)) + "\n" + json.dumps(record)
    assert json.loads(read(write(tmp_path / "l.json", lines))[1].record) == record


@pytest.mark.parametrize("image", [3, {"path": "a.jpg"}, ["a.jpg", 3], [["a.jpg"]]])
def test_unusable_image_key_gives_an_entry_without_image(tmp_path: Path, image: Any) -> None:
    """Such a conversation fails later with its own reason; it is still counted among those with images."""
    entry = read(write(tmp_path / "c.json", json.dumps([conversation(0, image=image)])))[0]
    assert (entry.images, entry.format) == ((), "image")


def test_all_images_of_a_conversation_are_in_the_table(tmp_path: Path) -> None:
    """Models that see several pictures exist; which ones a conversation has must not be lost before one is chosen."""
    shown = [["a.jpg", "b/c.jpg"], ["a.jpg", "a.jpg"], ["a.jpg", "none", None, ""], []]
    entries = read(write(tmp_path / "c.json", json.dumps([conversation(0, image=images) for images in shown])))
    assert [entry.images for entry in entries] == [("a.jpg", "b/c.jpg"), ("a.jpg", "a.jpg"), ("a.jpg",), ()]
    assert [entry.format for entry in entries] == ["image", "image", "image", "text"]


def test_rows_count_over_all_files_also_over_one_given_twice(tmp_path: Path) -> None:
    """`row` is the key of every table: a repeated number would mix up conversations."""
    one = write(tmp_path / "a.json", json.dumps([conversation(0), conversation(1)]))
    two = write(tmp_path / "b.jsonl", json.dumps(conversation(2)))
    empty = write(tmp_path / "e.json", " [ ] ")
    entries = read(one, empty, two, one)
    assert [(entry.row, entry.id) for entry in entries] == [(0, "c0"), (1, "c1"), (2, "c2"), (3, "c0"), (4, "c1")]
    assert [entry.source for entry in entries] == [one, one, two, one, one]


def test_urls_and_compressed_files(tmp_path: Path) -> None:
    """Corpora lie in object stores, and compressed."""
    file = write(tmp_path / "c.json.gz", gzip.compress(json.dumps([conversation(0)]).encode()))
    assert read(file)[0].id == "c0"
    assert read(f"file://{file}")[0].source == file
    store = fsspec.filesystem("memory")
    store.pipe("/sets/c.json", json.dumps([conversation(0)]).encode())
    store.pipe("/sets/c.parquet", Path(parquet(tmp_path / "c.parquet", {"image": pa.array([b"x"])})).read_bytes())
    assert read("memory://sets/c.json")[0].source == "memory://sets/c.json"
    assert read("memory://sets/c.parquet")[0].images == ("memory://sets/c.parquet#0",)
    assert "d.json: not found" in refusal("memory://sets/d.json")


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1000])
def test_chunk_boundaries_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """A number, a character or an escape cut by a chunk's end would be read wrong once in a million conversations."""
    monkeypatch.setattr(source, "CHUNK_BYTES", chunk)
    random.seed(chunk)
    records: list[Any] = [12345, -1.5e10, True, 'é😀"\\\n', conversation(0, text="é😀\ud83d" * 30)]
    records += [conversation(number, x=[random.random(), None, number**9]) for number in range(20)]
    for ascii_only in (True, False):
        content = json.dumps(records, ensure_ascii=ascii_only, indent=1).encode(errors="replace")
        expected = json.loads(content)
        assert [json.loads(entry.record) for entry in read(write(tmp_path / "c.json", content))] == expected
        lines = "\n".join(json.dumps(record, ensure_ascii=ascii_only) for record in records[4:])
        entries = read(write(tmp_path / "l.json", lines.encode(errors="replace")))
        assert [json.loads(entry.record) for entry in entries] == expected[4:]


def test_not_utf8(tmp_path: Path) -> None:
    """Text in another encoding would train the model on garbage."""
    assert "not UTF-8 at byte 8" in refusal(write(tmp_path / "c.json", b'[{"a": "\xe9"}]'))
    assert "not UTF-8 at byte 8" in refusal(write(tmp_path / "c.json", b'[{"a": "\xc3'))
    assert "line 2 is not UTF-8 at its byte 7" in refusal(write(tmp_path / "c.jsonl", b'{}\n{"a": "\xe9"}'))
    assert "not UTF-8" in refusal(write(tmp_path / "c.json", "[{}]".encode("utf-16")))


@pytest.mark.parametrize("content", ['[{"a": "' + "x" * 5000, '{"a": "' + "x" * 5000, "[" + " " * 50 + "1" * 5000])
def test_memory_is_bounded_in_an_endless_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """A file with a lost quotation mark must not fill the memory before it is refused."""
    monkeypatch.setattr(source, "CHUNK_BYTES", 64)
    monkeypatch.setattr(source, "LONGEST_CONVERSATION", 1000)
    assert "of more than 0 MiB" in refusal(write(tmp_path / "c.json", content))


@pytest.mark.parametrize("outer", [True, False])
def test_a_key_that_stands_twice(tmp_path: Path, outer: bool) -> None:
    """The mixture would hold one of the two values, and which one the trainer would have taken nobody knows."""
    good, record = json.dumps(conversation(0)), json.dumps(conversation(1))
    key, twice = ("image", '"image": "b.jpg", "image"') if outer else ("value", '"value": "x", "value"')
    bad = record.replace(f'"{key}"', twice, 1)
    said = f"the key {key!r} stands in an object twice"
    message = refusal(write(tmp_path / "c.json", f"[{good}, {bad}]"))
    assert f"after 1 conversations, at byte {len(good) + 3}: {said}" in message
    assert f"broken JSON in line 3: {said}" in refusal(write(tmp_path / "c.jsonl", f"{good}\n\n{bad}\n"))
    assert len(read(write(tmp_path / "c.jsonl", f"{good}\n{record}\n"))) == 2


@pytest.mark.parametrize("number", ["1E400", "-1e309", "1" + "0" * 400 + ".5"])
def test_numbers_beyond_any_float(tmp_path: Path, number: str) -> None:
    """They are read as infinity, which the mixture would spell as no JSON does."""
    bad = json.dumps(conversation(1, score=0)).replace('"score": 0', f'"score": {number}')
    said = f"{number[:64]} is too large for a number"
    assert said in refusal(write(tmp_path / "c.json", f"[{bad}]"))
    assert f"in line 2: {said}" in refusal(write(tmp_path / "c.jsonl", f"{{}}\n{bad}"))


@pytest.mark.parametrize("number", ["1e-400", "-2.5E-330", "0." + "0" * 400 + "1"])
def test_numbers_below_any_float(tmp_path: Path, number: str) -> None:
    """They are read as zero, so that the mixture would hold another number than the corpus."""
    bad = json.dumps(conversation(1, score=0)).replace('"score": 0', f'"score": {number}')
    assert f"{number[:64]} is too small for a number" in refusal(write(tmp_path / "c.json", f"[{bad}]"))


def test_numbers_that_are_kept(tmp_path: Path) -> None:
    """NaN is how pandas writes a missing value; it comes out as it went in."""
    record = '{"a":NaN,"b":Infinity,"c":-Infinity,"d":1e+308,"e":5e-324,"f":0.0,"g":-0.0,"conversations":[]}'
    assert read(write(tmp_path / "c.json", f"[{record}]"))[0].record == record
    assert json.loads(read(write(tmp_path / "c.json", '[{"a": 0e-400, "b": 0.000E9}]'))[0].record) == {"a": 0, "b": 0}


@pytest.mark.parametrize("newline", ["\n", ""])
def test_a_byte_order_mark_where_files_were_put_together(tmp_path: Path, newline: str) -> None:
    """`cat a.jsonl b.jsonl` of files saved on Windows; what stands there cannot be seen in an editor."""
    said = "a byte order mark inside the file"
    lines = '{"id": 1}' + newline + '\ufeff{"id": 2}'
    assert f"line {2 if newline else 1}, column {1 if newline else 10}: {said}" in refusal(
        write(tmp_path / "c.jsonl", lines)
    )
    assert f"after 1 conversations, at byte {4 + len(newline)}: {said}" in refusal(
        write(tmp_path / "c.json", f"[{{}}]{newline}\ufeff[{{}}]")
    )
    assert f"at byte 5: {said}" in refusal(write(tmp_path / "c.json", "[{}, \ufeff{}]"))
    assert said in refusal(write(tmp_path / "c.json", f"\ufeff{newline}\ufeff[{{}}]"))
    assert len(read(write(tmp_path / "c.jsonl", '{"id": "a\ufeffb"}\n{"id": 2}'))) == 2


def test_records_with_pictures_that_are_not_read(tmp_path: Path) -> None:
    """Taken for texts they would be scored without their picture; they count among those with one, and fail."""
    records = [
        {"images": ["a.jpg"], "conversations": TURNS},
        {"conversations": [{"from": "human", "value": "<video>\nWhat?"}, TURNS[1]]},
        conversation(2, video="b.mp4"),
        {"image": "none", "conversations": [{"from": "human", "value": "What?"}, TURNS[1]]},
        conversation(4, image=float("nan")),
    ]
    entries = read(write(tmp_path / "c.json", json.dumps(records)))
    assert [entry.format for entry in entries] == ["image", "image", "image", "text", "text"]
    assert [entry.images for entry in entries] == [()] * 5


def test_embedded_row_tells_paths_from_embedded_images() -> None:
    """A file name may hold `#`; taken for an embedded image, it would not be found."""
    assert embedded_row("/c.parquet#12", "/c.parquet") == 12
    for image in ("img#12", "/c.parquet#", "/c.parquet#x", "/c.parquet", "/d.parquet#1"):
        assert embedded_row(image, "/c.parquet") is None


def test_a_record_cannot_name_an_embedded_image(tmp_path: Path) -> None:
    """One that does would have its corpus file opened as Parquet, or be shown another conversation's picture."""
    json_file, first, second = (str(tmp_path / name) for name in ("c.json", "1.parquet", "2.parquet"))
    names = [f"{json_file}#0", ["a.jpg", f"{json_file}#0"], f"{json_file}#{'9' * 5000}", "a#0"]
    write(tmp_path / "c.json", json.dumps([conversation(0, image=name) for name in names]))
    entries = read(json_file)
    assert [entry.images for entry in entries] == [(), (), (), ("a#0",)]
    assert {entry.format for entry in entries} == {"image"}
    images = [{"bytes": b"x", "path": None}, {"bytes": None, "path": f"{first}#0"}]
    for file in (first, second):
        parquet(Path(file), {"image": pa.array(images, IMAGE)})
    assert [entry.images for entry in read(first, second)] == [(f"{first}#0",), (), (f"{second}#0",), ()]
