"""Drivers of their own process, on a cluster of their own, that things are done to."""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic, sleep
from typing import Literal

PATIENCE = 540.0
SITE = Path(__file__).parent / "faults" / "site"
SIGNAL_TABLES = ("signals/clean", "signals/vectors", "signals/corrupted")
Point = Literal[
    "before the temporary file",
    "after the temporary file",
    "after the rename",
    "before the manifest entry",
    "between stages",
    "preparing",
    "scoring",
    "answering",
]


@dataclass(frozen=True)
class Fault:
    """What happens at a point.

    Attributes:
        point: Where.
        subject: A regular expression for the path, stage, row (`row 7.`) or call of the process (`call 2`) there.
        kind: `kill` or `crash` of the process that is there, `kill driver` and the process, `device` lost, `file limit`
            of a kilobyte for the process, `wait` for ever.
        times: How often, over all processes; always if None.
        run: The run whose driver is killed.
    """

    point: Point
    subject: str
    kind: Literal["kill", "crash", "kill driver", "device", "file limit", "wait"] = "kill"
    times: int | None = 1
    run: str = ""


class Driver:
    """`ards-ray` in a process of its own."""

    def __init__(self, process: BaseProcess, log: Path):
        self._process = process
        self._log = log

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code; negative the signal that ended it."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self.kill()
            raise AssertionError(f"the driver did not end within {seconds:g} s:\n{self._log.read_text()}")
        return self._process.exitcode

    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def text(self) -> str:
        """What it printed, spaces and line breaks made one space."""
        return " ".join(self._log.read_text().split())


class Drivers:
    """Starts drivers; they are forked from a process that has imported all, which saves each some seconds."""

    def __init__(self, address: str, folder: Path):
        self._address = address
        self._folder = folder
        self._faults = folder / "faults.json"
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["ards_ray.cli", "ards_ray.jobs.select", "ards_ray.models.llava"])
        self._count = 0

    def start(self, *arguments: object) -> Driver:
        self._count += 1
        log = self._folder / f"driver-{self._count}.log"
        process = self._context.Process(target=_drive, args=(list(map(str, arguments)), self._address, str(log)))
        process.start()
        return Driver(process, log)

    def plan(self, *faults: Fault) -> None:
        """What is to happen from now on; nothing if nothing is named."""
        for claimed in self._folder.glob("faults.json.*"):
            claimed.unlink()
        temporary = self._folder / "faults.new"
        temporary.write_text(json.dumps([asdict(fault) for fault in faults]))
        temporary.rename(self._faults)


def _drive(arguments: Sequence[str], address: str, log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ["RAY_ADDRESS"] = address
    # multiprocessing takes the path of the parent, which is without it.
    sys.path.insert(0, str(SITE))
    from ards_ray.cli import main

    code = main(arguments)
    sys.stdout.flush()
    # At once: what the interpreter does at its end is not what is tested, and takes a second.
    os._exit(code)


def wait_for(happened: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    deadline = monotonic() + seconds
    while not happened():
        assert monotonic() < deadline, f"waited in vain for {what}"
        sleep(0.02)


def finished_parts(run: Path, table: str) -> dict[str, int]:
    """Finished parts of a table: when the file of each was written; those whose file is gone left out."""
    from ards_ray.run.directory import RunDirectory

    paths = [part.path for part in RunDirectory(str(run)).parts(table)]
    return {path: (run / path).stat().st_mtime_ns for path in paths if (run / path).exists()}


def finished_signals(run: Path) -> dict[str, int]:
    """Parts of the signals of the shards that have a finished part of each: when the file of each was written."""
    tables = [finished_parts(run, table) for table in SIGNAL_TABLES]
    shards = set.intersection(*({Path(path).name for path in parts} for parts in tables))
    return {path: stamp for parts in tables for path, stamp in parts.items() if Path(path).name in shards}
