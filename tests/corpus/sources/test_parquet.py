"""Parquet corpora: rows as records, images found by their row, and a mixture of the original rows."""

import base64
import datetime
import decimal
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import IMAGE, TURNS, parquet, read, refusal, write

from ards_ray.corpus.conversation import parse_conversation
from ards_ray.corpus.readers import embedded_row
from ards_ray.corpus.sources import parquet as form
from ards_ray.corpus.sources.parquet import Parquet
from ards_ray.corpus.sources.registry import open_corpus, open_source
from ards_ray.errors import ConversationError, CorpusError


def test_parquet_pictures_in_other_columns(tmp_path: Path) -> None:
    """As LLaMA-Factory and ms-swift write them; beside an embedded image, too."""
    images = pa.array([[{"bytes": b"x", "path": None}], [], None], pa.list_(IMAGE))
    file = parquet(tmp_path / "c.parquet", {"images": images})
    assert [entry.format for entry in read(file)] == ["image", "text", "text"]
    videos = pa.array([{"bytes": b"x"}, None])
    file = parquet(tmp_path / "c.parquet", {"image": pa.array([b"x", b"y"]), "video": videos})
    for entry, said in zip(read(file), ("pictures under a key that is not read: video", None), strict=True):
        assert entry.images == (f"{file}#{entry.row}",)
        try:
            parse_conversation(entry.row, entry.format, entry.images, entry.record)
            error = None
        except ConversationError as caught:
            error = str(caught)
        assert error == said


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
        assert [entry.images for entry in entries] == [(f"{file}#0",), ("b.jpg",), (), ()]
        assert [entry.id for entry in entries] == list("abcd")
        assert [entry.format for entry in entries] == ["image", "image", "text", "text"]
        assert [json.loads(entry.record)["image"] for entry in entries] == [{"path": "a.jpg"}, "b.jpg", None, None]
        assert list(json.loads(entries[0].record)) == ["conversations", "id", "image"]
        assert json.loads(entries[0].record)["conversations"] == TURNS


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (pa.array(["a.jpg", None]), [["a.jpg"], []]),
        (pa.array([["a.jpg"], ["a.jpg", "b.jpg"]]), [["a.jpg"], ["a.jpg", "b.jpg"]]),
        (pa.array([b"x", None]), [["#0"], []]),
        (pa.array([{"bytes": b"x"}, {"bytes": None}]), [["#0"], []]),
        (pa.array([{"bytes": b"x", "path": None}, None], IMAGE), [["#0"], []]),
        (pa.array([{"path": "a.jpg"}, None]), [["a.jpg"], []]),
        (pa.array([[{"bytes": b"x", "path": "a"}], []], pa.list_(IMAGE)), [[], []]),
    ],
)
def test_parquet_image_columns(tmp_path: Path, images: pa.Array, names: list[list[str]]) -> None:
    """Sets differ in how they hold images: what is known must be found, and what is not must not be embedded bytes."""
    for options in ({}, {"write_statistics": False}):
        file = parquet(tmp_path / "c.parquet", {"image": images}, **options)
        entries = read(file)
        assert [list(entry.images) for entry in entries] == [
            [name.replace("#", f"{file}#") for name in some] for some in names
        ]
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
    assert [entry.images for entry in read(file)] == [(f"{file}#0",), ()]
    with pytest.raises(OSError, match=r"."):
        pq.read_table(file)


def test_parquet_rows_count_over_row_groups_and_files(tmp_path: Path) -> None:
    """`file#n` and `row` are how an image and a conversation are found again."""
    images = [{"bytes": b"x", "path": None}] * 10
    file = parquet(tmp_path / "c.parquet", {"image": pa.array(images, IMAGE)}, row_group_size=3)
    entries = read(file, file)
    assert [entry.row for entry in entries] == list(range(20))
    assert [embedded_row(*entry.images, entry.source) for entry in entries] == [*range(10), *range(10)]


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


# Embedded images


def embed(path: Path, values: list[Any], kind: pa.DataType | None = None, **options: Any) -> str:
    pq.write_table(pa.table({"id": list(range(len(values))), "image": pa.array(values, kind)}), path, **options)
    return str(path)


@pytest.mark.parametrize("group", [1, 3, 100])
def test_embedded_images_are_found_by_row(tmp_path: Path, group: int) -> None:
    """An image of another row would be scored with this row's question, unnoticed."""
    values = [{"bytes": b"%d" % row * 1000, "path": str(row)} for row in range(10)]
    file = embed(tmp_path / "c.parquet", values, row_group_size=group)
    assert open_source(file).images([7, 0, 7, 5]) == {row: b"%d" % row * 1000 for row in (0, 5, 7)}
    plain = embed(tmp_path / "p.parquet", [value["bytes"] for value in values], row_group_size=group)
    assert open_source(plain).images([9]) == {9: b"9" * 1000}
    assert open_source(plain).images([]) == {}


def test_only_the_row_groups_needed_are_read(tmp_path: Path) -> None:
    """A shard needs some hundred images of a file of gigabytes. Other groups are damaged here: reading them fails."""
    values = [{"bytes": random.Random(row).randbytes(1000), "path": None} for row in range(9)]
    file = embed(tmp_path / "c.parquet", values, row_group_size=3)
    content = bytearray(Path(file).read_bytes())
    metadata = pq.ParquetFile(file).metadata
    for group in (0, 2):
        chunk = metadata.row_group(group).column(1)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    Path(file).write_bytes(content)
    assert open_source(file).images([4])[4] == values[4]["bytes"]
    with pytest.raises(CorpusError, match="corrupt Parquet file"):
        open_source(file).images([1])


def test_rows_without_an_embedded_image(tmp_path: Path) -> None:
    """A row whose image is gone costs itself, not the images of the others."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    file = embed(tmp_path / "c.parquet", [{"bytes": b"x", "path": None}, {"bytes": None, "path": "a"}, None], kind)
    for row in (1, 2, 3, -1):
        assert open_source(file).images([0, row]) == {0: b"x"}
    assert open_source(embed(tmp_path / "p.parquet", ["a.jpg"])).images([0]) == {}


# The mixture


@pytest.fixture
def table() -> pa.Table:
    images = [{"bytes": bytes([row]) * 5000, "path": f"{row}.jpg"} if row % 4 else None for row in range(100)]
    turn = pa.struct([("from", pa.string()), ("value", pa.large_string())])
    schema = pa.schema(
        [
            pa.field("id", pa.int32(), nullable=False, metadata={"a": "b"}),
            pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            pa.field("label", pa.dictionary(pa.int32(), pa.string())),
            pa.field("when", pa.timestamp("us", "UTC")),
            pa.field("conversations", pa.list_(pa.field("element", turn))),
        ],
        metadata={"huggingface": '{"info": {}}'},
    )
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    columns = [range(100), images, ["x", None] * 50, range(100), [turns] * 100]
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def mixture(files: list[str], selected: list[int], count: int) -> dict[str, pa.Table]:
    """The parts of a mixture."""
    chosen = np.isin(np.arange(count), selected)
    parts = {}
    for file in Parquet.mixture(open_corpus(files), chosen, ()):
        stream = io.BytesIO()
        rows = file.write(stream)
        parts[file.name] = pq.read_table(stream)
        assert len(parts[file.name]) == rows
    return parts


@pytest.mark.parametrize("group", [7, 100])
@pytest.mark.parametrize("batch_bytes", [1, 20_000, 1 << 30])
@pytest.mark.parametrize("selected", [[0], [99], [3, 4, 6, 7, 50, 98], list(range(100))])
def test_mixture_rows_are_copied_with_all_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table, group: int, batch_bytes: int, selected: list[int]
) -> None:
    """The mixture trains with the script that trained on the corpus: same columns, types, metadata, and images."""
    monkeypatch.setattr(form, "_BATCH_BYTES", batch_bytes)
    pq.write_table(table, tmp_path / "c.parquet", row_group_size=group)
    ((name, part),) = mixture([str(tmp_path / "c.parquet")], selected, 100).items()
    assert name == "mixture/part-00000.parquet"
    assert part.schema.equals(table.schema, check_metadata=True)
    assert part.to_pylist() == table.take(np.array(selected, np.int64)).to_pylist()


def test_mixture_has_a_part_for_each_file_with_selected_rows(tmp_path: Path, table: pa.Table) -> None:
    """Rows are counted through the files: a wrong start would copy rows that nobody selected."""
    files = [str(tmp_path / f"{number}.parquet") for number in range(3)]
    for file, rows in zip(files, (10, 20, 30), strict=True):
        pq.write_table(table.slice(rows, rows), file)
    parts = mixture(files, [9, 30, 59], 60)
    assert {name: part["id"].to_pylist() for name, part in parts.items()} == {
        "mixture/part-00000.parquet": [19],
        "mixture/part-00002.parquet": [30, 59],
    }
    assert mixture(files, [], 60) == {}


@pytest.mark.parametrize("rows", [99, 101])
def test_mixture_of_a_file_that_changed_during_the_run(tmp_path: Path, table: pa.Table, rows: int) -> None:
    """The mixture would silently lack rows, or hold the rows next to those that were selected."""
    file = str(tmp_path / "c.parquet")
    pq.write_table(table, file)
    with pytest.raises(CorpusError, match=f"c.parquet: 100 rows now, and {rows} when the corpus was read"):
        mixture([file], [5], rows)


def test_digest_tells_changed_rows(tmp_path: Path) -> None:
    """A corpus that changed would keep the scores of what it was; its images are too many bytes to read them all."""
    columns = {"image": pa.array([b"x" * 1000, b"y" * 1000])}
    digests = [open_source(parquet(tmp_path / "c.parquet", columns)).digest()]
    for changed in ({"image": pa.array([b"x" * 1000])}, {"image": pa.array([b"x" * 1000, b"z" * 1000])}):
        digests.append(open_source(parquet(tmp_path / "c.parquet", changed)).digest())
    digests.append(open_source(parquet(tmp_path / "moved.parquet", columns)).digest())
    assert len(set(digests)) == 3
    assert digests[3] == digests[0]
