"""`kill -9` at any moment: the same command goes on, and comes to what it would have come to."""

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from time import sleep
from typing import Any

import pyarrow.parquet as pq
import pytest
from drivers import SIGNAL_TABLES, Driver, Drivers, Fault, Point, finished_parts, finished_signals
from tables import read_table

POINTS = ("before the temporary file", "after the temporary file", "after the rename", "before the manifest entry")
ARDS = "methods/ards"


def assert_nothing_partial(run: Path) -> None:
    """Every file under a final name opens, whether the manifest knows it or not."""
    for file in run.rglob("*.parquet"):
        if not file.name.startswith("."):
            pq.read_table(file)


def lasting(run: Path) -> dict[str, int]:
    """Finished parts that no kill may touch, and when the file of each was written."""
    return finished_signals(run) | finished_parts(run, f"{ARDS}/clusters") | finished_parts(run, f"{ARDS}/scores")


def killed_at(
    plan: Sequence[Fault], drivers: Drivers, start: Callable[[], Driver], run: Path, verify: Callable[[object], str]
) -> None:
    """Have the driver of a run killed at one point after the other, then let it finish."""
    redone = []
    for fault in plan:
        before = lasting(run)
        drivers.plan(fault)
        driver = start()
        assert driver.wait() == -9, f"{fault}: {driver.text}"
        after = lasting(run)
        redone += [(fault, path) for path, stamp in before.items() if after.get(path) != stamp]
        assert_nothing_partial(run)
        assert verify(run) == "", fault
    drivers.plan()
    driver = start()
    assert driver.wait() == 0, driver.text
    assert redone == []
    assert not [path for path in run.rglob(".*") if path.is_file() and path.name != ".lease.json.lock"]


def in_worker(run: Path, point: Point, path: str) -> Fault:
    """A worker that writes a file is killed, and the driver first: it would start another."""
    return Fault(point, f"(^|/){path}", "kill driver", run=str(run))


def test_the_driver_is_killed_while_signals_are_computed(
    drivers: Drivers, select: Callable[..., Driver], tmp_path: Path, verify, assert_same
) -> None:
    """A file that is half there, or whole and unknown, would be taken for a result; a finished one made again."""
    run = tmp_path / "run"
    plan = [Fault(point, "(^|/)conversations/part-00001") for point in POINTS]
    plan += [Fault("between stages", "^conversations$")]
    writing = zip(POINTS, ("clean", "vectors", "vectors", "corrupted"), strict=True)
    plan += [in_worker(run, point, f"signals/{signal}/part-000") for point, signal in writing]
    plan += [in_worker(run, "after the rename", r"manifest/signals/clean/part-000\d\d\.json")]
    plan += [Fault("between stages", f"^{table}$") for table in reversed(SIGNAL_TABLES)]
    killed_at(plan, drivers, lambda: select(run), run, verify)
    assert_same(run, "driver killed at each point of writing signals", len(plan), "what was in flight")


def test_the_driver_is_killed_while_methods_compute(
    drivers: Drivers, select: Callable[..., Driver], copied: Path, verify, assert_same
) -> None:
    """The arithmetic would go on from half of what it needs, or a mixture pass for another's."""
    for name in ("ards", "random"):
        shutil.rmtree(copied / "methods" / name)
    plan = [Fault("before the manifest entry", f"^{ARDS}/clusters/centroids")]
    plan += [in_worker(copied, point, f"{ARDS}/clusters/part-00000") for point in POINTS[1::2]]
    plan += [Fault("between stages", f"^{ARDS}/clusters$")]
    plan += [Fault("after the rename", f"/{ARDS}/subgroups/members"), Fault("between stages", f"^{ARDS}/subgroups$")]
    plan += [in_worker(copied, "after the rename", f"{ARDS}/scores/part-00000")]
    plan += [Fault("between stages", f"^{ARDS}/scores$")]
    plan += [Fault("before the manifest entry", f"^{ARDS}/ranking/part-00000")]
    plan += [Fault(point, f"(^|/){ARDS}/mixture.json$") for point in POINTS]
    plan += [Fault("between stages", f"^{ARDS}/mixture$"), Fault("after the temporary file", f"/{ARDS}/summary.json$")]
    plan += [Fault("after the rename", "/methods/random/mixture.json$"), Fault("between stages", "^methods/random/")]
    killed_at(plan, drivers, lambda: select(copied), copied, verify)
    assert_same(copied, "driver killed within and between the stages of methods", len(plan), "the stage in flight")


def test_a_shard_with_some_of_its_signals_is_computed_as_a_whole(
    drivers: Drivers, select: Callable[..., Driver], tmp_path: Path, assert_same
) -> None:
    """Signals that are computed in another company differ in their last bits, and so may the mixture."""
    run = tmp_path / "run"
    drivers.plan(in_worker(run, "after the rename", r"manifest/signals/clean/part-00003\.json"))
    driver = select(run)
    assert driver.wait() == -9, driver.text
    (some,) = (path for path in finished_parts(run, "signals/clean") if path.endswith("part-00003.parquet"))
    stamp = finished_parts(run, "signals/clean")[some]
    assert not (run / some.replace("clean", "vectors")).exists()
    drivers.plan()
    driver = select(run)
    assert driver.wait() == 0, driver.text
    assert finished_parts(run, "signals/clean")[some] != stamp
    assert_same(run, "driver killed between two signals of a shard", 1, "the shard")


def test_the_driver_is_killed_while_corrupted_losses_of_candidates_are_computed(
    drivers: Drivers, select: Callable[..., Driver], undisturbed: Path, tmp_path: Path, verify, assert_same
) -> None:
    """The stage asks for signals of some rows: what it has would be taken for all that it asks for."""
    drawn = ("--set", "subgroups.candidates=4")
    quiet, run = tmp_path / "quiet", tmp_path / "run"
    driver = select(quiet, *drawn)
    assert driver.wait() == 0, driver.text
    assert read_table(quiet, "signals/corrupted").num_rows < read_table(quiet, "signals/clean").num_rows
    plan = [in_worker(run, "before the manifest entry", f"{ARDS}/corruptible/part-00000")]
    plan += [in_worker(run, point, "signals/corrupted/part-000") for point in POINTS[1::2]]
    plan += [in_worker(run, "after the rename", r"manifest/signals/corrupted/part-000\d\d\.json")]
    plan += [Fault("between stages", "^signals/corrupted$")]
    plan += [Fault(point, f"(^|/){ARDS}/candidates/candidates") for point in POINTS[1::2]]
    plan += [Fault("between stages", f"^{ARDS}/candidates$")]
    killed_at(plan, drivers, lambda: select(run, *drawn), run, verify)
    assert_same(run, "driver killed while it computes candidates", len(plan), "what was in flight", quiet)


def kill_at_random(select: Callable[..., Driver], run: Path, kills: int, seed: int, longest: float) -> int:
    """Kill drivers of a run one after the other; gives how many finished shards were redone.

    When the run is finished before, a shard is taken away, so that there is something to kill.
    """
    random_ = random.Random(seed)
    redone = killed = 0
    while killed < kills:
        before = finished_signals(run)
        driver = select(run)
        sleep(random_.uniform(0.2, longest))
        if driver.is_alive():
            driver.kill()
            killed += 1
        else:
            assert driver.wait() == 0, driver.text
            taken = run / random_.choice(sorted(finished_signals(run)))
            taken.unlink()
        after = written(run)
        redone += sum(after[path] != stamp for path, stamp in before.items() if path in after)
        assert_nothing_partial(run)
    driver = select(run)
    assert driver.wait() == 0, driver.text
    return redone


def written(run: Path) -> dict[str, int]:
    """The files of signals, finished or not: when each was written."""
    files = (run / "signals").glob("*/part-*.parquet")
    return {str(file.relative_to(run)): file.stat().st_mtime_ns for file in files}


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
    drivers.plan(Fault("after the temporary file", f"signals/vectors/{part}"))
    driver = select(run, *options, "--retry-failed")
    assert driver.wait() == 0, driver.text
    for table in SIGNAL_TABLES:
        found, wanted = read_table(run, table), read_table(undisturbed, table)
        assert found.select(["row", "status"]).equals(wanted.select(["row", "status"]))
    assert verify(run) == ""
    note("actor killed while it scores failed conversations again", 1, 0, "its shards in flight")


def test_an_actor_is_killed(drivers: Drivers, select: Callable[..., Driver], tmp_path: Path, assert_same) -> None:
    """The job goes on by itself, and its bystanders are not blamed."""
    run = tmp_path / "run"
    drivers.plan(Fault("after the temporary file", "signals/vectors/part-00003"))
    driver = select(run)
    assert driver.wait() == 0, driver.text
    assert_same(run, "actor killed", 1, "its two shards in flight")
