"""Memory and processor time of this process and of all that it started, as Linux counts them."""

import os
import re
import threading
from pathlib import Path
from types import TracebackType

PROC = Path("/proc")
SAMPLE_SECONDS = 0.25


class Watch:
    """Watches this process and its descendants; a context manager.

    The memory of a process is its largest resident set (`VmHWM`), which the kernel keeps, so that nothing is missed
    between two looks. It counts the pages of Ray's object store that the process touched: an upper bound of what is
    the process's own.
    """

    def __init__(self) -> None:
        self._before: dict[int, float] = {}
        self._seconds: dict[int, float] = {}
        self._peaks: dict[int, tuple[str, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watch":
        for process in _processes():
            (PROC / str(process) / "clear_refs").write_text("5")  # The largest resident set starts anew.
        self._look()
        self._before = dict(self._seconds)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    @property
    def peaks(self) -> dict[str, int]:
        """Bytes of the largest process of each name, largest first."""
        largest: dict[str, int] = {}
        for name, size in self._peaks.values():
            largest[name] = max(size, largest.get(name, 0))
        return dict(sorted(largest.items(), key=lambda item: -item[1]))

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all processes together; what others take of the machine is not in it."""
        return sum(seconds - self._before.get(process, 0.0) for process, seconds in self._seconds.items())

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        for process in _processes():
            try:
                status = (PROC / str(process) / "status").read_text()
                title = (PROC / str(process) / "cmdline").read_text()
                times = (PROC / str(process) / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
            except OSError:
                continue  # It ended.
            self._seconds[process] = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
            if found := re.search(r"VmHWM:\s+(\d+) kB", status):
                size = max(int(found[1]) * 1024, self._peaks.get(process, ("", 0))[1])
                self._peaks[process] = (_name(process, title), size)


def _name(process: int, title: str) -> str:
    if process == os.getpid():
        return "driver"
    if title.startswith("ray::"):
        return "worker"
    return "ray"


def _processes() -> list[int]:
    """This process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue  # It ended.
            parent = int(stat.rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = [os.getpid()]
    for process in found:
        found += children.get(process, [])
    return found
