"""A conversation that kills the process that works on it costs itself and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from drivers import Driver, Drivers, Fault
from tables import read_table

KINDS = (("scoring", "crash"), ("scoring", "device"), ("preparing", "kill"))


def test_what_kills_its_process_becomes_a_failed_row(
    drivers: Drivers, select: Callable[..., Driver], undisturbed: Path, tmp_path: Path, verify, note
) -> None:
    """One picture in a million would end a week of GPU time, or start it again for ever; also after a restart."""
    run = tmp_path / "run"
    # Two in one shard, whose others must be scored, and one in another.
    three, *_ = sorted((rows for rows in shards_of(undisturbed) if len(rows) >= 3), key=len)
    other, *_ = sorted((rows for rows in shards_of(undisturbed) if rows != three), key=len)
    poisons = dict(zip((three[0], three[2], other[0]), KINDS, strict=True))
    drivers.plan(*(Fault(point, rf"row {row}\.", kind, times=None) for row, (point, kind) in poisons.items()))
    tolerant = ("--set", "limits.failed_fraction=0.1")
    driver = select(run, *tolerant)
    assert driver.wait() == 0, driver.text
    found = {row["row"]: row for row in read_table(run, "signals/clean").to_pylist()}
    wanted = {row["row"]: row for row in read_table(undisturbed, "signals/clean").to_pylist()}
    assert found.keys() == wanted.keys()
    for row, entry in found.items():
        if row in poisons:
            assert entry["status"] == "failed"
            assert entry["error"].startswith("killed the process that scored it")
        else:
            # Scored in halves, so their last bits may differ.
            assert entry["clean_loss"] == pytest.approx(wanted[row]["clean_loss"], rel=1e-5)
            assert entry["content"] == wanted[row]["content"]
    lines = [json.loads(line) for line in (run / "failures.jsonl").read_text().splitlines()]
    assert sorted(line["row"] for line in lines) == sorted(poisons)
    assert {line["signal"] for line in lines} == {"clean"}
    for table in ("signals/vectors", "signals/corrupted"):
        failed = [row["row"] for row in read_table(run, table).to_pylist() if row["status"] == "failed"]
        assert failed == sorted(poisons), table
    assert verify(run) == ""
    written = {path: (run / path).read_bytes() for path in ("methods/ards/mixture.json", "methods/ards/summary.json")}
    again = select(run, *tolerant)
    assert again.wait() == 0
    assert "Nothing to do" in again.text
    assert {path: (run / path).read_bytes() for path in written} == written
    note("conversation that kills its process: crash, device lost, killed", len(poisons), 0, "its shard, in halves")


def shards_of(run: Path) -> list[list[int]]:
    """The rows of each shard."""
    files = sorted((run / "signals" / "clean").glob("part-*.parquet"))
    return [pq.read_table(file, columns=["row"])["row"].to_pylist() for file in files]
