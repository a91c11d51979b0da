"""Reading a corpus: every conversation once, unchanged, and an error that tells where a file is broken."""

import base64
import datetime
import decimal
import gzip
import json
import random
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ards_ray.corpus import readers
from ards_ray.corpus.conversation import parse_conversation
from ards_ray.corpus.readers import Entry, embedded_row, is_parquet, read_corpus
from ards_ray.errors import ConversationError, CorpusError

TURNS = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A cat."}]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def conversation(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"c{number}", "image": f"coco/{number}.jpg", "conversations": TURNS, **more}


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(*files: str) -> list[Entry]:
    return list(read_corpus(files))


def refusal(*files: str) -> str:
    with pytest.raises(CorpusError) as error:
        read(*files)
    return str(error.value)


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> str:
    count = len(next(iter(columns.values())))
    pq.write_table(pa.table({"conversations": pa.array([TURNS] * count), **columns}), path, **options)
    return str(path)


# What is read


@pytest.mark.parametrize("indent", [None, 2])
def test_json_array_gives_every_record_in_order(tmp_path: Path, indent: int | None) -> None:
    """Without it conversations are lost, or the mixture holds others than were scored."""
    records = [conversation(number) for number in range(5)]
    file = write(tmp_path / "c.json", json.dumps(records, indent=indent))
    entries = read(file)
    assert [entry.row for entry in entries] == [0, 1, 2, 3, 4]
    assert [json.loads(entry.record) for entry in entries] == records
    assert entries[3] == Entry(3, "c3", file, "coco/3.jpg", "image", entries[3].record)
    assert "\n" not in entries[3].record


def test_json_lines_are_told_from_an_array_by_content(tmp_path: Path) -> None:
    """A file's name does not say which of the two it is; guessing wrong would refuse half of the published sets."""
    lines = "\n\n".join(json.dumps(conversation(number)) for number in range(3)) + "\r\n \t\n"
    assert [entry.id for entry in read(write(tmp_path / "c.json", lines))] == ["c0", "c1", "c2"]
    assert [entry.id for entry in read(write(tmp_path / "d.jsonl", lines.rstrip()))] == ["c0", "c1", "c2"]


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
    assert pa.array([entry.id, entry.image, entry.record]).to_pylist()[1] == r"a\udc00.jpg"


@pytest.mark.parametrize("record", [1, None, "text", [], [{}], {}, {"id": None}, {"conversations": 3}])
def test_records_that_are_no_conversations_are_entries_too(tmp_path: Path, record: Any) -> None:
    """They must become failed rows; dropped here, the counts of the summary would not add up."""
    entries = read(write(tmp_path / "c.json", json.dumps([record, conversation(1)])))
    assert [(entry.row, entry.id) for entry in entries] == [(0, ""), (1, "c1")]
    assert json.loads(entries[0].record) == record
    assert (entries[0].image, entries[0].format) == (None, "text")
    lines = json.dumps(conversation(0)) + "\n" + json.dumps(record)
    assert json.loads(read(write(tmp_path / "l.json", lines))[1].record) == record


@pytest.mark.parametrize("image", [["a.jpg", "b.jpg"], 3, {"path": "a.jpg"}])
def test_unusable_image_key_gives_an_entry_without_image(tmp_path: Path, image: Any) -> None:
    """Such a conversation fails later with its own reason; it is still counted among those with images."""
    entry = read(write(tmp_path / "c.json", json.dumps([conversation(0, image=image)])))[0]
    assert (entry.image, entry.format) == (None, "image")


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
    assert read("memory://sets/c.parquet")[0].image == "memory://sets/c.parquet#0"
    assert "d.json: not found" in refusal("memory://sets/d.json")


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1000])
def test_chunk_boundaries_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """A number, a character or an escape cut by a chunk's end would be read wrong once in a million conversations."""
    monkeypatch.setattr(readers, "_CHUNK_BYTES", chunk)
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


# What is refused


def test_missing_file_is_named_before_anything_is_read(tmp_path: Path) -> None:
    """A mistyped second path should not cost the time of reading the first."""
    good = write(tmp_path / "a.json", "[{}]")
    with pytest.raises(CorpusError, match=r"gone\.json: not found"):
        read_corpus([good, str(tmp_path / "gone.json")])
    assert "not a file" in refusal(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b" \n\t ", b"\xef\xbb\xbf"])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    """An interrupted download must not pass for a corpus without conversations."""
    assert refusal(write(tmp_path / "c.json", content)).endswith("c.json: empty file")


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
    monkeypatch.setattr(readers, "_CHUNK_BYTES", 1000)
    good = json.dumps([conversation(number, note="é") for number in range(200)], ensure_ascii=False)[:-1]
    message = refusal(write(tmp_path / "c.json", good + ', {"a":: 1}, ' + '{"b": 1},' * 2000))
    assert f"after 200 conversations, at byte {len(good.encode()) + 7}: " in message


def test_broken_json_line_is_named(tmp_path: Path) -> None:
    """As for arrays: the user has to find it."""
    message = refusal(write(tmp_path / "c.jsonl", '{"id": 1}\n\n{"id": }\n'))
    assert "broken JSON in line 3, column 8" in message
    assert "broken JSON in line 1" in refusal(write(tmp_path / "c.jsonl", '{"id": 1} {"id": 2}\n'))
    assert "broken JSON in line 2" in refusal(write(tmp_path / "c.jsonl", '{"id": 1}\n{"id": ' + "1" * 5000 + "}"))
    assert "line 2 is nested too deeply" in refusal(write(tmp_path / "c.jsonl", "{}\n" + "[" * 100_000))


def test_not_utf8(tmp_path: Path) -> None:
    """Text in another encoding would train the model on garbage."""
    assert "not UTF-8 at byte 8" in refusal(write(tmp_path / "c.json", b'[{"a": "\xe9"}]'))
    assert "not UTF-8 at byte 8" in refusal(write(tmp_path / "c.json", b'[{"a": "\xc3'))
    assert "line 2 is not UTF-8 at its byte 7" in refusal(write(tmp_path / "c.jsonl", b'{}\n{"a": "\xe9"}'))
    assert "not UTF-8" in refusal(write(tmp_path / "c.json", "[{}]".encode("utf-16")))


def test_single_object_is_no_corpus(tmp_path: Path) -> None:
    """`{"data": [...]}` would pass for a corpus of a single, failed conversation."""
    record = {"data": [conversation(0)]}
    assert "a single JSON object" in refusal(write(tmp_path / "c.json", json.dumps(record)))
    assert "ends within a JSON object" in refusal(write(tmp_path / "c.json", json.dumps(record, indent=2)))
    assert len(read(write(tmp_path / "c.json", json.dumps(conversation(0))))) == 1


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A wrong path, to an image folder's archive for instance, is said at once."""
    assert "neither a JSON array, JSON Lines nor Parquet" in refusal(write(tmp_path / "c.zip", b"PK\x03\x04..."))
    assert "cannot be read" in refusal(write(tmp_path / "c.json.gz", b"[{}]"))


@pytest.mark.parametrize("content", ['[{"a": "' + "x" * 5000, '{"a": "' + "x" * 5000, "[" + " " * 50 + "1" * 5000])
def test_memory_is_bounded_in_an_endless_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """A file with a lost quotation mark must not fill the memory before it is refused."""
    monkeypatch.setattr(readers, "_CHUNK_BYTES", 64)
    monkeypatch.setattr(readers, "_LONGEST_CONVERSATION", 1000)
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


# Pictures in other forms


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
    assert [entry.image for entry in entries] == [None] * 5


def test_parquet_pictures_in_other_columns(tmp_path: Path) -> None:
    """As LLaMA-Factory and ms-swift write them; beside an embedded image, too."""
    images = pa.array([[{"bytes": b"x", "path": None}], [], None], pa.list_(IMAGE))
    file = parquet(tmp_path / "c.parquet", {"images": images})
    assert [entry.format for entry in read(file)] == ["image", "text", "text"]
    videos = pa.array([{"bytes": b"x"}, None])
    file = parquet(tmp_path / "c.parquet", {"image": pa.array([b"x", b"y"]), "video": videos})
    for entry, said in zip(read(file), ("pictures under a key that is not read: video", None), strict=True):
        assert entry.image == f"{file}#{entry.row}"
        try:
            parse_conversation(entry.row, entry.format, entry.image, entry.record)
            error = None
        except ConversationError as caught:
            error = str(caught)
        assert error == said


# Parquet


def test_parquet_names_that_stand_twice(tmp_path: Path) -> None:
    """Of two columns of a name one would be read, and of two fields none can be."""
    column = pa.array([TURNS])
    table = pa.Table.from_arrays([column, pa.array(["a"]), pa.array(["b"])], ["conversations", "image", "image"])
    pq.write_table(table, tmp_path / "c.parquet")
    assert "the name 'image' stands twice" in refusal(str(tmp_path / "c.parquet"))
    fields = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["x", "x"])
    assert "the name 'x' stands twice" in refusal(parquet(tmp_path / "c.parquet", {"meta": fields}))


def test_parquet_rows_embedded_and_not(tmp_path: Path) -> None:
    """Published Parquet sets mix embedded images, paths and texts; each must be found again where it is."""
    images = [{"bytes": b"x", "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}, None, {"bytes": None, "path": None}]
    columns = {"id": list("abcd"), "image": pa.array(images, IMAGE)}
    for options in ({}, {"row_group_size": 1}, {"row_group_size": 3}, {"write_statistics": False}):
        file = parquet(tmp_path / "c.parquet", columns, **options)
        entries = read(file)
        assert [entry.image for entry in entries] == [f"{file}#0", "b.jpg", None, None]
        assert [entry.id for entry in entries] == list("abcd")
        assert [entry.format for entry in entries] == ["image", "image", "text", "text"]
        assert [json.loads(entry.record)["image"] for entry in entries] == [{"path": "a.jpg"}, "b.jpg", None, None]
        assert list(json.loads(entries[0].record)) == ["conversations", "id", "image"]
        assert json.loads(entries[0].record)["conversations"] == TURNS


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (pa.array(["a.jpg", None]), ["a.jpg", None]),
        (pa.array([["a.jpg"], ["a.jpg", "b.jpg"]]), ["a.jpg", None]),
        (pa.array([b"x", None]), ["#0", None]),
        (pa.array([{"bytes": b"x"}, {"bytes": None}]), ["#0", None]),
        (pa.array([{"bytes": b"x", "path": None}, None], IMAGE), ["#0", None]),
        (pa.array([{"path": "a.jpg"}, None]), ["a.jpg", None]),
        (pa.array([[{"bytes": b"x", "path": "a"}], []], pa.list_(IMAGE)), [None, None]),
    ],
)
def test_parquet_image_columns(tmp_path: Path, images: pa.Array, names: list[str | None]) -> None:
    """Sets differ in how they hold images: what is known must be found, and what is not must not be embedded bytes."""
    for options in ({}, {"write_statistics": False}):
        file = parquet(tmp_path / "c.parquet", {"image": images}, **options)
        entries = read(file)
        assert [entry.image for entry in entries] == [name and name.replace("#", f"{file}#") for name in names]
        assert not any("eA==" in entry.record for entry in entries)


def test_parquet_other_columns_are_readable(tmp_path: Path) -> None:
    """The conversations table is for people and DuckDB: every column of the corpus can be read in it."""
    time = datetime.datetime(2024, 5, 6, 7, 8, 9, 123456)
    columns = {
        "when": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")),
        "took": pa.array([1500], pa.duration("ns")),
        "price": pa.array([decimal.Decimal("1.10")]),
        "raw": pa.array([b"\xff\x00"]),
        "nested": pa.array([{"times": [time], "day": time.date()}]),
        "big": pa.array([2**63 - 1]),
        "label": pa.array(["x"]).dictionary_encode(),
        "a.b": pa.array([1.5]),
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    }
    record = json.loads(read(parquet(tmp_path / "c.parquet", columns))[0].record)
    assert record["when"] == "2023-11-14 22:13:20.123456789"
    assert record["price"] == "1.10"
    assert base64.b64decode(record["raw"]) == b"\xff\x00"
    assert record["nested"] == {"times": ["2024-05-06 07:08:09.123456"], "day": "2024-05-06"}
    assert (record["took"], record["big"], record["label"], record["a.b"]) == (1500, 2**63 - 1, "x", 1.5)
    assert record["map"] == [["k", 1]]


def test_parquet_image_bytes_are_not_read(tmp_path: Path) -> None:
    """Sets of hundreds of gigabytes are mostly image bytes: reading them twice would cost hours.

    The bytes' column chunk is overwritten here, so that whoever reads it fails.
    """
    images = [{"bytes": random.Random(0).randbytes(100_000), "path": "a.jpg"}, None]
    file = parquet(tmp_path / "c.parquet", {"image": pa.array(images, IMAGE)})
    chunk = pq.ParquetFile(file).metadata.row_group(0).column(2)
    assert chunk.path_in_schema == "image.bytes"
    content = bytearray(Path(file).read_bytes())
    offset = chunk.dictionary_page_offset or chunk.data_page_offset
    content[offset : offset + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    write(tmp_path / "c.parquet", bytes(content))
    assert [entry.image for entry in read(file)] == [f"{file}#0", None]
    with pytest.raises(OSError, match=r"."):
        pq.read_table(file)


def test_parquet_rows_count_over_row_groups_and_files(tmp_path: Path) -> None:
    """`file#n` and `row` are how an image and a conversation are found again."""
    images = [{"bytes": b"x", "path": None}] * 10
    file = parquet(tmp_path / "c.parquet", {"image": pa.array(images, IMAGE)}, row_group_size=3)
    entries = read(file, file)
    assert [entry.row for entry in entries] == list(range(20))
    assert [embedded_row(entry.image, entry.source) for entry in entries] == [*range(10), *range(10)]


def test_parquet_without_conversations(tmp_path: Path) -> None:
    """Another table of the same data set is easily taken for the corpus."""
    pq.write_table(pa.table({"id": [1], "messages": ["x"]}), tmp_path / "c.parquet")
    assert "no column 'conversations' among id, messages" in refusal(str(tmp_path / "c.parquet"))


def test_corrupt_parquet(tmp_path: Path) -> None:
    """Half a download must be named, not end in a traceback of another library."""
    file = parquet(tmp_path / "c.parquet", {"id": [str(number) for number in range(1000)]})
    content = Path(file).read_bytes()
    assert "c.parquet: corrupt Parquet file" in refusal(write(tmp_path / "c.parquet", content[:-100]))
    assert "c.parquet: corrupt Parquet file" in refusal(write(tmp_path / "c.parquet", b"PAR1"))
    broken = content[:4] + b"\xff" * 200 + content[204:]
    assert "c.parquet: corrupt Parquet file" in refusal(write(tmp_path / "c.parquet", broken))


def test_parquet_and_json_do_not_mix(tmp_path: Path) -> None:
    """The mixture of both would have no single form; that must not show after days of scoring."""
    one = parquet(tmp_path / "c.parquet", {"id": ["a"]})
    two = write(tmp_path / "c.json", "[{}]")
    with pytest.raises(CorpusError, match=r"c\.json is JSON and .*c\.parquet is Parquet"):
        read_corpus([one, two])
    assert (is_parquet(one), is_parquet(two)) == (True, False)


def test_embedded_row_tells_paths_from_embedded_images() -> None:
    """A file name may hold `#`; taken for an embedded image, it would not be found."""
    assert embedded_row("/c.parquet#12", "/c.parquet") == 12
    for image in ("img#12", "/c.parquet#", "/c.parquet#x", "/c.parquet", "/d.parquet#1", None):
        assert embedded_row(image, "/c.parquet") is None


def test_a_record_cannot_name_an_embedded_image(tmp_path: Path) -> None:
    """One that does would have its corpus file opened as Parquet, or be shown another conversation's picture."""
    json_file, first, second = (str(tmp_path / name) for name in ("c.json", "1.parquet", "2.parquet"))
    names = [f"{json_file}#0", [f"{json_file}#0"], f"{json_file}#{'9' * 5000}", "a#0"]
    write(tmp_path / "c.json", json.dumps([conversation(0, image=name) for name in names]))
    entries = read(json_file)
    assert [entry.image for entry in entries] == [None, None, None, "a#0"]
    assert {entry.format for entry in entries} == {"image"}
    images = [{"bytes": b"x", "path": None}, {"bytes": None, "path": f"{first}#0"}]
    for file in (first, second):
        parquet(Path(file), {"image": pa.array(images, IMAGE)})
    assert [entry.image for entry in read(first, second)] == [f"{first}#0", None, f"{second}#0", None]
