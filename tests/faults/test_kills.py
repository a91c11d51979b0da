"""`kill -9` at any moment: the same command goes on, and comes to what it would have come to."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

import pyarrow.parquet as pq
import pytest
from drivers import Driver, Drivers, Fault, finished_parts
from tables import read_table

POINTS = ("before the temporary file", "after the temporary file", "after the rename", "before the manifest entry")
# Tables whose finished parts no kill may touch.
LASTING = ("signals", "clusters", "scores")


def assert_nothing_partial(run: Path) -> None:
    """Every file under a final name opens, whether the manifest knows it or not."""
    for file in run.rglob("*.parquet"):
        if not file.name.startswith("."):
            pq.read_table(file)


def test_the_driver_is_killed_at_each_point(
    drivers: Drivers, select: Callable[..., Driver], tmp_path: Path, verify, assert_same
) -> None:
    """A file that is half there, or whole and unknown, would be taken for a result; a finished one made again."""
    run = tmp_path / "run"
    plan = [Fault(point, "(^|/)conversations/part-00001") for point in POINTS]
    plan += [Fault("between stages", "^conversations$")]
    # These are written by the actor, of which Ray would start another: here it takes the driver along.
    plan += [Fault(point, "(^|/)signals/part-000", "kill driver", run=str(run)) for point in POINTS]
    plan += [Fault("after the rename", r"manifest/signals-part-000\d\d\.json", "kill driver", run=str(run))]
    plan += [Fault("between stages", f"^{stage}$") for stage in ("signals", "clusters", "subgroups", "scores")]
    plan += [Fault(point, "(^|/)mixture.json$") for point in POINTS]
    plan += [Fault("between stages", "^mixture$")]
    redone = 0
    for fault in plan:
        before = {path: stamp for table in LASTING for path, stamp in finished_parts(run, table).items()}
        drivers.plan(fault)
        driver = select(run)
        assert driver.wait() == -9, f"{fault}: {driver.text}"
        after = {path: stamp for table in LASTING for path, stamp in finished_parts(run, table).items()}
        redone += sum(after.get(path) != stamp for path, stamp in before.items())
        assert_nothing_partial(run)
        assert verify(run) == ""
    drivers.plan()
    driver = select(run)
    assert driver.wait() == 0, driver.text
    assert redone == 0
    assert_same(run, "driver killed at each point of writing, and between stages", len(plan), "what was in flight")
    assert not [path for path in run.rglob(".*") if path.is_file() and path.name != ".lease.json.lock"]


def kill_at_random(select: Callable[..., Driver], run: Path, kills: int, seed: int, longest: float) -> int:
    """Kill drivers of a run one after the other; gives how many finished shards were redone.

    When the run is finished before, a shard is taken away, so that there is something to kill.
    """
    random_ = random.Random(seed)
    redone = killed = 0
    while killed < kills:
        before = finished_parts(run, "signals")
        driver = select(run)
        sleep(random_.uniform(0.2, longest))
        if driver.is_alive():
            driver.kill()
            killed += 1
        else:
            assert driver.wait() == 0, driver.text
            taken = run / random_.choice(sorted(finished_parts(run, "signals")))
            taken.unlink()
        after = finished_parts_left(run)
        redone += sum(after[path] != stamp for path, stamp in before.items() if path in after)
        assert_nothing_partial(run)
    driver = select(run)
    assert driver.wait() == 0, driver.text
    return redone


def finished_parts_left(run: Path) -> dict[str, int]:
    files = (run / "signals").glob("part-*.parquet")
    return {f"signals/{file.name}": file.stat().st_mtime_ns for file in files}


@pytest.mark.parametrize(
    ("kills", "seed", "longest"),
    [(20, 7, 6.5), pytest.param(200, 11, 12.0, marks=pytest.mark.long)],
    ids=["twenty", "two hundred"],
)
def test_kills_at_random_moments(
    drivers: Drivers, select: Callable[..., Driver], tmp_path: Path, assert_same, kills: int, seed: int, longest: float
) -> None:
    """Machines are preempted whenever it pleases their owner; windows of milliseconds are met by many tries."""
    run = tmp_path / "run"
    assert kill_at_random(select, run, kills, seed, longest) == 0
    assert_same(run, "driver killed at random moments", kills, "what was in flight")


def test_an_actor_is_killed_over_a_retry(
    drivers: Drivers, select: Callable[..., Driver], small: Any, undisturbed: Path, tmp_path: Path, verify, note
) -> None:
    """The other conversations of a shard would be gone with the part that holds them, and nobody would know."""
    images = Path(shutil.copytree(small.images, tmp_path / "images"))
    part, name = next(
        (file.stem, names[0])
        for file in sorted((undisturbed / "conversations").glob("part-*.parquet"))
        if len(names := sorted({name for shown in pq.read_table(file)["images"].to_pylist() for name in shown})) > 1
    )
    (images / name).rename(tmp_path / "missing")
    run = tmp_path / "run"
    options = ("--images", images, "--set", "limits.failed_fraction=0.5")
    driver = select(run, *options)
    assert driver.wait() == 0, driver.text
    (tmp_path / "missing").rename(images / name)
    drivers.plan(Fault("after the temporary file", f"signals/{part}"))
    driver = select(run, *options, "--retry-failed")
    assert driver.wait() == 0, driver.text
    found, wanted = read_table(run, "signals"), read_table(undisturbed, "signals")
    assert found["row"].to_pylist() == wanted["row"].to_pylist()
    assert set(found["status"].to_pylist()) == {"ok"}
    assert verify(run) == ""
    note("actor killed while it scores failed conversations again", 1, 0, "its shards in flight")


def test_an_actor_is_killed(drivers: Drivers, select: Callable[..., Driver], tmp_path: Path, assert_same) -> None:
    """The job goes on by itself, and its bystanders are not blamed."""
    run = tmp_path / "run"
    drivers.plan(Fault("after the temporary file", "signals/part-00003"))
    driver = select(run)
    assert driver.wait() == 0, driver.text
    assert_same(run, "actor killed", 1, "its two shards in flight")
