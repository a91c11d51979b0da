"""Signals parts: written again with some rows of a shard, they keep the others."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from ards_ray.config import Settings
from ards_ray.errors import ArdsError
from ards_ray.run.directory import RunDirectory
from ards_ray.signals.score import signals_table, write_signals

PART = "signals/part-00000.parquet"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with one shard of four conversations, of which one failed."""
    run = RunDirectory(str(tmp_path))
    rows = [{"row": row, "format": "text", "image": None, "source": "a.json"} for row in range(4)]
    run.write_table("conversations/part-00000.parquet", pa.Table.from_pylist(rows), "", 0.0)
    failed = signals_table([{"row": 3, "status": "failed", "error": "image not found"}], 2)
    write(run, pa.concat_tables([scored(range(3)), failed]))
    return run


def scored(rows: Iterable[int]) -> pa.Table:
    return signals_table([{"row": row, "status": "ok", "vector": [0.5, 1.5], "clean_loss": 1.0} for row in rows], 2)


def write(run: RunDirectory, table: pa.Table) -> None:
    write_signals(run, Settings(), "part-00000", table, "stage", 0.0, splits=1)


@pytest.mark.parametrize("lost", [[], ["manifest/signals-part-00000.json"]], ids=["whole", "entry lost"])
def test_other_rows_are_kept(run: RunDirectory, lost: list[str]) -> None:
    """Also where a process was killed after the old entry was deleted and before the new one was written."""
    for path in lost:
        run.delete(path)
    write(run, scored([3]))
    table = run.read_table(PART)
    assert table["row"].to_pylist() == [0, 1, 2, 3]
    assert set(table["status"].to_pylist()) == {"ok"}
    part = run.part(PART)
    assert part is not None
    assert (part.rows, part.details["ok"], part.details["failed"]) == (4, 4, 0)


def test_rows_that_are_gone_are_an_error(run: RunDirectory) -> None:
    """A part with some of its shard's conversations would be taken for whole."""
    run.delete(PART)
    with pytest.raises(ArdsError, match="scored 1 of 4 conversations"):
        write(run, scored([3]))
    assert not run.exists(PART)
