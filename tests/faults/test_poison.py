"""A conversation that kills the process that works on it costs itself and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path

from drivers import Driver, Drivers, Fault
from tables import read_table

# Rows of the corpus, each in a shard of its own, and what becomes of their processes.
POISONS = {5: ("scoring", "crash"), 20: ("scoring", "device"), 33: ("preparing", "kill")}


def poison(drivers: Drivers, *others: Fault) -> None:
    faults = [Fault(point, rf"row {row}\.", kind, times=None) for row, (point, kind) in POISONS.items()]
    drivers.plan(*faults, *others)


def test_what_kills_its_process_becomes_a_failed_row(
    drivers: Drivers, select: Callable[..., Driver], undisturbed: Path, tmp_path: Path, verify, note
) -> None:
    """One picture in a million would end a week of GPU time, or start it again for ever; also after a restart."""
    run = tmp_path / "run"
    shards = shards_of(undisturbed)
    assert len({shards[row] for row in POISONS}) == len(POISONS)
    first = sorted(shards[row] for row in POISONS)[0]
    # The driver dies when the first poisoned shard is about to be written, all the others being done or suspected.
    poison(drivers, Fault("before the temporary file", rf"signals/{first}\.", "kill", run=str(run)))
    tolerant = ("--set", "limits.failed_fraction=0.1")
    driver = select(run, *tolerant)
    assert driver.wait(240) == -9, driver.text
    driver = select(run, *tolerant)
    assert driver.wait(240) == 0, driver.text
    found = {row["row"]: row for row in read_table(run, "signals").to_pylist()}
    wanted = {row["row"]: row for row in read_table(undisturbed, "signals").to_pylist()}
    assert found.keys() == wanted.keys()
    for row, entry in found.items():
        if row in POISONS:
            assert entry["status"] == "failed"
            assert entry["error"].startswith("killed the process that scored it")
        else:
            # Scored in halves, so their last bits may differ.
            assert abs(entry["clean_loss"] - wanted[row]["clean_loss"]) < 1e-5
            assert entry["content"] == wanted[row]["content"]
    lines = [json.loads(line) for line in (run / "failures.jsonl").read_text().splitlines()]
    assert sorted(line["row"] for line in lines) == sorted(POISONS)
    assert verify(run) == ""
    written = {path: (run / path).read_bytes() for path in ("mixture.json", "summary.json")}
    again = select(run, *tolerant)
    assert again.wait() == 0
    assert "Nothing to do" in again.text
    assert {path: (run / path).read_bytes() for path in written} == written
    note("conversation that kills its process: crash, device lost, killed", len(POISONS), 0, "its shard, in halves")


def shards_of(run: Path) -> dict[int, str]:
    import pyarrow.parquet as pq

    files = sorted((run / "signals").glob("part-*.parquet"))
    return {row: file.stem for file in files for row in pq.read_table(file, columns=["row"])["row"].to_pylist()}
