"""Whether a lease's holder lives."""

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic, sleep

import pytest

from ards_ray.errors import ArdsError, RunHeld
from ards_ray.run import lease as leases
from ards_ray.run.directory import RunDirectory
from ards_ray.run.lease import Lease, hold_lease, read_lease
from ards_ray.storage.exclusive import Content, ExclusiveFile, Replaced, exclusive_file


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(str(tmp_path / "run"))
    directory.prepare()
    return directory


@pytest.fixture
def mine(run: RunDirectory) -> Lease:
    """The lease that this process takes."""
    with hold_lease(run, print):
        found = read_lease(run)
    assert found is not None
    return found


def test_the_lease_says_who_holds_it(run: RunDirectory, mine: Lease) -> None:
    """The person who is told to wait must know for whom."""
    assert (mine.host, mine.process) == (socket.gethostname(), os.getpid())
    assert not mine.is_dead()
    assert read_lease(run) is None


def test_a_dead_process_holds_nothing(mine: Lease) -> None:
    """After a crash the next start would wait, or be refused for ever."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert replace(mine, process=child.pid).is_dead()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells when a process began")
def test_a_number_that_is_used_again_and_a_process_that_is_not_buried(mine: Lease) -> None:
    """Another program that got the dead driver's number would lock the run until it ends."""
    assert replace(mine, started="7").is_dead()
    child = subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()
    # Ended, and nobody has asked how.
    while (state := Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0]) != "Z":
        assert state in "RSDZ"
    assert replace(mine, process=child.pid, started=mine.started).is_dead()
    child.wait()


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"namespace": "pid:[1]"}])
def test_of_processes_elsewhere_nothing_is_known(mine: Lease, change: dict[str, str]) -> None:
    """Containers share a machine's name and not its process numbers: theirs would be taken for dead."""
    assert not replace(mine, process=2**22 - 1, **change).is_dead()  # type: ignore[arg-type]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux names its boots")
def test_a_clone_of_this_machine_is_elsewhere(mine: Lease) -> None:
    """Cloned machines share all but their boot: a driver that lives on one would be taken for dead on the other, and
    two would work on the run."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    values = json.dumps(asdict(replace(mine, process=2**22 - 1)))
    assert Lease(**json.loads(values)).is_dead()
    assert boot in values
    assert not Lease(**json.loads(values.replace(boot, "another boot"))).is_dead()


def test_a_machine_that_is_not_known_is_elsewhere(mine: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no machine can be told from another, a name that both have must not be enough to take a run over."""
    monkeypatch.setattr(leases, "_namespace", lambda: "")
    assert not replace(mine, namespace="", process=2**22 - 1).is_dead()


def test_a_damaged_lease_is_named(run: RunDirectory) -> None:
    """Whoever edited it by hand is told what to do."""
    run.write_bytes("lease.json", b"{}")
    with pytest.raises(ArdsError, match=r"lease\.json: damaged"), hold_lease(run, print):
        pass


def test_it_is_renewed(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that is not renewed is taken over in the middle of the work."""
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.05)
    with hold_lease(run, print):
        first = read_lease(run)
        later = read_lease(run)
        while later == first:
            later = read_lease(run)
        assert first is not None
        assert later is not None
        assert later.heartbeat > first.heartbeat
        assert later.token == first.token


class Forgetful(ExclusiveFile):
    """A store whose answers get lost: every second put that it made comes back as one of somebody else's."""

    def __init__(self, file: ExclusiveFile):
        self._file = file
        self.lost = 0

    def read(self) -> Content | None:
        return self._file.read()

    def replace(self, before: Content | None, content: bytes) -> Content:
        written = self._file.replace(before, content)
        self.lost += 1
        if self.lost % 2:
            raise Replaced
        return written

    def delete(self, before: Content) -> None:
        self._file.delete(before)


def test_a_put_whose_answer_was_lost_is_no_other_driver(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hiccup of the network would end the job with the news that another driver had taken it."""
    forgetful = Forgetful(exclusive_file(run.location, "lease.json"))
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(leases, "exclusive_file", lambda *_: forgetful)
    with hold_lease(run, print):
        while forgetful.lost < 6:
            pass
    assert read_lease(run) is None


@pytest.mark.parametrize("again", [False, True])
def test_an_interrupt_that_a_library_swallows(run: RunDirectory, monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    """Somebody else works on the run by then: the driver must not go on, nor end as if all were well."""
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.3)

    def work() -> None:
        with hold_lease(run, print):
            held = read_lease(run)
            assert held is not None
            run.write_bytes("lease.json", json.dumps(asdict(replace(held, token="theirs"))).encode())
            with suppress(KeyboardInterrupt):
                sleep(600)
            if again:
                sleep(600)

    begun = monotonic()
    with pytest.raises(RunHeld, match="another driver took this run over"):
        work()
    assert monotonic() - begun < 600
    left = read_lease(run)
    assert left is not None
    assert left.token == "theirs"
