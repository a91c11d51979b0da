"""Writing the mixture: a drop-in training file, in the corpus's own form."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ards_ray.corpus import writers
from ards_ray.corpus.readers import read_corpus
from ards_ray.corpus.writers import parquet_mixture, parquet_schema, write_json_array
from ards_ray.errors import CorpusError


def batches(records: list[str], *sizes: int) -> Iterator[pa.LargeStringArray]:
    """The records in arrays of so many, and the others in one; slices, whose offsets do not begin at 0."""
    array = pa.array(records, type=pa.large_string())
    first = 0
    for size in (*sizes, len(records)):
        yield array.slice(first, size)
        first += size


@pytest.mark.parametrize("sizes", [(), (1,), (0, 2)])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_array_has_a_record_in_each_line(count: int, sizes: tuple[int, ...]) -> None:
    """A training script reads it with `json.load`, a person with `grep`."""
    records = [json.dumps({"id": number, "text": "é\n"}, ensure_ascii=False) for number in range(count)]
    stream = io.BytesIO()
    assert write_json_array(stream, batches(records, *sizes)) == count
    text = stream.getvalue().decode()
    assert json.loads(text) == [json.loads(record) for record in records]
    assert [line.strip(" ,") for line in text.splitlines()[1:-1]] == records
    assert count or text == "[]\n"


def test_mixture_is_a_corpus_again(tmp_path: Path) -> None:
    """What is read and written unchanged stays the same, text for text."""
    records = [{"id": 1, "z": 0.1, "a": [None, 2**80], "t": "é\ud83d \u2028"}, [], "x", {"conversations": []}]
    first = tmp_path / "a.json"
    first.write_text(json.dumps(records))
    written = [entry.record for entry in read_corpus([str(first)])]
    with (tmp_path / "b.json").open("wb") as stream:
        write_json_array(stream, batches(written))
    assert json.loads((tmp_path / "b.json").read_text()) == records
    assert [entry.record for entry in read_corpus([str(tmp_path / "b.json")])] == written


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


@pytest.mark.parametrize("group", [7, 100])
@pytest.mark.parametrize("batch_bytes", [1, 20_000, 1 << 30])
@pytest.mark.parametrize("selected", [[], [0], [99], [3, 4, 6, 7, 50, 98], list(range(100))])
def test_parquet_rows_are_copied_with_all_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table, group: int, batch_bytes: int, selected: list[int]
) -> None:
    """The mixture trains with the script that trained on the corpus: same columns, types, metadata, and images."""
    monkeypatch.setattr(writers, "_BATCH_BYTES", batch_bytes)
    pq.write_table(table, tmp_path / "c.parquet", row_group_size=group)
    file = str(tmp_path / "c.parquet")
    batches = list(parquet_mixture(file, np.array(selected, np.int64)))
    schema = parquet_schema(file)
    assert schema.equals(table.schema, check_metadata=True)
    assert all(batch.schema.equals(schema, check_metadata=True) for batch in batches)
    assert pa.Table.from_batches(batches, schema).to_pylist() == table.take(np.array(selected, np.int64)).to_pylist()
    assert batch_bytes > 1 or len(batches) == len(selected)


def test_rows_that_the_file_has_not(tmp_path: Path, table: pa.Table) -> None:
    """The file was exchanged during the run: the mixture would silently lack rows."""
    pq.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(CorpusError, match="row 100 of 100 was selected"):
        list(parquet_mixture(str(tmp_path / "c.parquet"), np.array([5, 100])))
    with pytest.raises(CorpusError, match="not found"):
        list(parquet_mixture(str(tmp_path / "gone.parquet"), np.array([5])))
