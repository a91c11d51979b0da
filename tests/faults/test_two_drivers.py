"""Two drivers on one run: one works."""

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from time import monotonic, time

from drivers import Driver, Drivers, wait_for


def lease(run: Path, **values: object) -> dict[str, object]:
    """A driver's on another machine."""
    content = {
        "host": "elsewhere",
        "namespace": "pid:[1]",
        "process": 7,
        "started": None,
        "token": "theirs",
        "since": time(),
        "heartbeat": time(),
        "expires_seconds": 3.0,
    }
    content |= values
    temporary = run / "lease.new"
    temporary.write_text(json.dumps(content))
    temporary.rename(run / "lease.json")
    return content


def test_the_second_driver_is_told_and_stops(
    drivers: Drivers, select: Callable[..., Driver], tmp_path: Path, assert_same
) -> None:
    """Two drivers would pay for every shard twice, and with other settings mix two runs."""
    run = tmp_path / "run"
    first = select(run)
    wait_for((run / "lease.json").exists, "the lease")
    second = select(run, "--fresh")
    assert second.wait() == 4, second.text
    assert "works on this run" in second.text
    assert first.wait() == 0, first.text
    assert not (run / "lease.json").exists()
    assert_same(run, "second driver", 1, "nothing")


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_at_once(
    drivers: Drivers, select: Callable[..., Driver], copied: Path
) -> None:
    """After a crash nobody should have to wait for a timeout."""
    (copied / "methods/ards/mixture.json").unlink()
    first = select(copied)
    wait_for((copied / "lease.json").exists, "the lease")
    first.kill()
    assert (copied / "lease.json").exists()
    second = select(copied)
    assert second.wait() == 0, second.text
    assert "waiting" not in second.text


def test_a_silent_driver_elsewhere_is_waited_for_and_then_replaced(
    drivers: Drivers, select: Callable[..., Driver], copied: Path
) -> None:
    """Its machine is gone; but it might be a slow network, so it gets its time."""
    lease(copied, heartbeat=time() - 10_000)
    begun = monotonic()
    driver = select(copied)
    assert driver.wait() == 0, driver.text
    assert monotonic() - begun > 3
    assert "is held by process 7 on elsewhere; waiting up to 3 s" in driver.text
    assert not (copied / "lease.json").exists()


def test_a_living_driver_elsewhere_is_left_alone(drivers: Drivers, select: Callable[..., Driver], copied: Path) -> None:
    """Its clock may be wrong by hours: what counts is whether it beats."""
    ended = Event()

    def beat() -> None:
        number = 0
        while not ended.wait(0.5):
            number += 1
            lease(copied, since=0.0, heartbeat=float(number), expires_seconds=20.0)

    lease(copied, since=0.0, heartbeat=0.0, expires_seconds=20.0)
    thread = Thread(target=beat)
    thread.start()
    try:
        driver = select(copied)
        assert driver.wait() == 4, driver.text
        assert "process 7 on elsewhere works on this run" in driver.text
    finally:
        ended.set()
        thread.join()


def test_a_driver_that_was_asleep_stops_when_another_took_over(
    drivers: Drivers, select: Callable[..., Driver], tmp_path: Path
) -> None:
    """A laptop that wakes up must not write into a run that another machine has finished."""
    run = tmp_path / "run"
    driver = select(run)
    wait_for((run / "lease.json").exists, "the lease")
    lease(run)
    assert driver.wait() == 4, driver.text
    assert "another driver took this run over" in driver.text
    assert json.loads((run / "lease.json").read_text())["token"] == "theirs"
