"""Signals' parts: written again with some rows of a shard, they keep the others."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ards_ray.config import Settings
from ards_ray.corpus.table import CONVERSATIONS, ConversationsDetails
from ards_ray.errors import ArdsError
from ards_ray.run.directory import RunDirectory
from ards_ray.signals.vectors import VECTORS
from ards_ray.signals.work import SignalWork
from ards_ray.signals.write import ShardRows, write_shard, written_shards

NAME = "part-00000"
PATH = f"signals/vectors/{NAME}.parquet"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with one shard of four conversations."""
    run = RunDirectory(str(tmp_path))
    rows = [
        {"row": row, "id": "x", "source": "a.json", "format": "text", "images": [], "record": "{}"} for row in range(4)
    ]
    table = pa.Table.from_pylist(rows, schema=CONVERSATIONS.schema(0))
    CONVERSATIONS.write(run, NAME, table, "", 0.0, ConversationsDetails({"text": 4}, ["a.json"]))
    return run


def of_rows(rows: Iterable[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=VECTORS.table.schema(2))


def scored(rows: Iterable[int]) -> pa.Table:
    return of_rows({"row": row, "status": "ok", "vector": [0.5, 1.5]} for row in rows)


def failed(*rows: int) -> pa.Table:
    return of_rows({"row": row, "status": "failed", "error": "image not found"} for row in rows)


def write(run: RunDirectory, *tables: pa.Table, some_rows: bool = False) -> int:
    work = SignalWork(run.url, Settings(), "", {"vectors": "stage"}, {"vectors": 1}, some_rows=some_rows)
    return write_shard(work, NAME, ShardRows({"vectors": pa.concat_tables(tables)}, 1, {}), 0.0)


@pytest.mark.parametrize("lost", [False, True], ids=["whole", "entry lost"])
def test_other_rows_are_kept(run: RunDirectory, lost: bool) -> None:
    """Also where a process was killed after the old entry was deleted and before the new one was written."""
    assert write(run, scored(range(3)), failed(3)) == 4
    if lost:
        (entry,) = Path(run.url, "manifest").rglob("signals/vectors/part-00000.json")
        entry.unlink()
    assert write(run, scored([3])) == 1
    table = VECTORS.table.read(run, NAME)
    assert table["row"].to_pylist() == [0, 1, 2, 3]
    assert set(table["status"].to_pylist()) == {"ok"}
    part = VECTORS.table.part(run, NAME)
    assert part is not None
    assert (part.rows, part.details.ok, part.details.failed) == (4, 4, 0)


def test_rows_that_are_gone_are_an_error(run: RunDirectory) -> None:
    """A part with some of its shard's conversations would be taken for whole."""
    with pytest.raises(ArdsError, match="scored 1 of 4 conversations"):
        write(run, scored([3]))
    assert not run.exists(PATH)


def test_rows_that_were_asked_for_join_those_that_are_there(run: RunDirectory) -> None:
    """A second method that draws other candidates of a shard must not cost the losses of the first one's."""
    write(run, scored([3]), some_rows=True)
    write(run, scored([1]), failed(0), some_rows=True)
    table = VECTORS.table.read(run, NAME)
    assert dict(zip(table["row"].to_pylist(), table["status"].to_pylist(), strict=True)) == {
        0: "failed",
        1: "ok",
        3: "ok",
    }


def test_a_shard_is_written_once_all_of_it_is(run: RunDirectory) -> None:
    """A shard whose answer was lost with its node is not scored again; one that was not finished must be."""
    work = SignalWork(run.url, Settings(), "", {"vectors": "stage", "clean": "stage"})
    write(run, scored(range(4)))
    assert written_shards(work, {NAME: {"vectors": None}}) == {NAME: 4}
    assert written_shards(work, {NAME: {"vectors": None, "clean": None}}) == {}
    assert written_shards(work, {NAME: {"vectors": [2]}}) == {}
    other = SignalWork(run.url, Settings(), "", {"vectors": "other settings"})
    assert written_shards(other, {NAME: {"vectors": None}}) == {}
