"""Small corpora, written and read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ards_ray.corpus.readers import Entry, read_corpus
from ards_ray.errors import CorpusError

TURNS = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A cat."}]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def conversation(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"c{number}", "image": f"coco/{number}.jpg", "conversations": TURNS, **more}


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> str:
    count = len(next(iter(columns.values())))
    pq.write_table(pa.table({"conversations": pa.array([TURNS] * count), **columns}), path, **options)
    return str(path)


def read(*files: str) -> list[Entry]:
    return list(read_corpus(files))


def refusal(*files: str) -> str:
    """What reading the corpus is refused with."""
    with pytest.raises(CorpusError) as error:
        read(*files)
    return str(error.value)


def slices(records: list[str], *sizes: int) -> Iterator[pa.LargeStringArray]:
    """The records in arrays of so many, and the others in one; slices, whose offsets do not begin at 0."""
    array = pa.array(records, type=pa.large_string())
    first = 0
    for size in (*sizes, len(records)):
        yield array.slice(first, size)
        first += size


def texts(count: int) -> list[str]:
    """JSON texts of records."""
    return [json.dumps({"id": number, "text": "é\n"}, ensure_ascii=False) for number in range(count)]
