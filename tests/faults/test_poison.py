"""A conversation that kills the process that works on it costs itself and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
from drivers import Driver, Drivers, Fault
from tables import read_table

POISON = 37


@pytest.mark.parametrize(
    ("point", "kind"),
    [("scoring", "crash"), ("scoring", "device"), ("preparing", "kill")],
    ids=["segmentation fault", "device lost", "killed while its image is opened"],
)
def test_what_kills_its_process_becomes_a_failed_row(
    drivers: Drivers, select: Callable[..., Driver], undisturbed: Path, tmp_path: Path, point, kind: str
) -> None:
    """One picture in a million would end a week of GPU time, or start it again for ever."""
    run = tmp_path / "run"
    drivers.plan(Fault(point, rf"row {POISON}\.", kind, times=None))
    driver = select(run)
    assert driver.wait(240) == 0, driver.text
    print(driver.text)
    rows = {row["row"]: row for row in read_table(run, "signals").to_pylist()}
    assert rows[POISON]["status"] == "failed"
    assert rows[POISON]["error"].startswith("killed the process that scored it")
    assert [row for row, entry in rows.items() if entry["status"] != "ok"] == [POISON]
