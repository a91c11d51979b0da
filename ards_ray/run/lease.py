"""The lease: one driver at a time works on a run."""

import _thread
import json
import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event, Thread, current_thread, get_ident, main_thread
from time import monotonic, sleep, time
from typing import Any

from ards_ray.errors import ArdsError, RunHeld, SettingsError
from ards_ray.run.directory import LEASE, RunDirectory
from ards_ray.storage.exclusive import Content, ExclusiveFile, Replaced, exclusive_file

HEARTBEAT_SECONDS = 5.0
EXPIRES_SECONDS = 60.0
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Lease:
    """Who works on the run, as lease.json tells.

    Attributes:
        host: Name of the machine.
        namespace: Which boot of which machine, and which of its spaces of process numbers: machines share names, cloned
            ones all else as well, and containers share machines. Empty where that is unknown.
        process: Process number there.
        started: The tick of the boot at which that process began, None where that is unknown: numbers are used again.
        token: Different for each lease.
        since: Seconds since 1970 when the driver began.
        heartbeat: Seconds since 1970 when it last said that it is alive.
        expires_seconds: After so long without a heartbeat others take over.
    """

    host: str
    namespace: str
    process: int
    started: str | None
    token: str
    since: float
    heartbeat: float
    expires_seconds: float

    @property
    def holder(self) -> str:
        return f"process {self.process} on {self.host}"

    def is_here(self) -> bool:
        """Whether its holder is a process of this machine, as this process sees them."""
        here = _namespace()
        return here != "" and (self.host, self.namespace) == (socket.gethostname(), here)

    def is_dead(self) -> bool:
        """Whether it is known for sure that the holder lives no more."""
        if not self.is_here():
            return False
        if not _lives(self.process):
            return True
        started = _started(self.process)
        return started is not None and self.started is not None and started != self.started


def read_lease(run: RunDirectory) -> Lease | None:
    """Who works on the run, None if nobody does."""
    try:
        return _parse(run, run.read_bytes(LEASE))
    except FileNotFoundError:
        return None


@contextmanager
def hold_lease(run: RunDirectory, say: Callable[[str], None]) -> Iterator[None]:
    """The lease for the time of a `with` block, its heartbeat kept up by a thread.

    Args:
        run: The run; its folder is there.
        say: Told why it takes long.

    Raises:
        SettingsError: the folder cannot be written.
        RunHeld: another driver holds it, or took it over while this one was asleep.
        ArdsError: it could not be renewed.
    """
    file = exclusive_file(run.location, LEASE)
    now = time()
    mine = Lease(
        host=socket.gethostname(),
        namespace=_namespace(),
        process=os.getpid(),
        started=_started(os.getpid()),
        token=uuid.uuid4().hex,
        since=now,
        heartbeat=now,
        expires_seconds=EXPIRES_SECONDS,
    )
    try:
        content = _acquire(run, file, mine, say)
    except OSError as error:
        raise SettingsError(f"{run.url}: the output folder cannot be written ({error})") from error
    with _interruptible() as interrupt:
        heart = _Heart(run, file, mine, content, interrupt)
        heart.start()
        try:
            yield
        except KeyboardInterrupt:
            heart.stop()
            if heart.lost is not None:
                raise heart.lost from None
            raise
        finally:
            heart.stop()
    if heart.lost is not None:
        raise heart.lost


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """A function that raises KeyboardInterrupt in this thread, from another one and whatever this one waits for."""
    if current_thread() is not main_thread():
        yield _thread.interrupt_main
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    thread = get_ident()
    # Not SIGINT, which is ignored in processes that a shell has put into the background.
    before = signal.signal(signal.SIGUSR2, interrupt)
    try:
        yield lambda: signal.pthread_kill(thread, signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before or signal.SIG_DFL)


def _acquire(run: RunDirectory, file: ExclusiveFile, mine: Lease, say: Callable[[str], None]) -> Content:
    seen: Lease | None = None
    seen_at = monotonic()
    while True:
        found = file.read()
        held = None if found is None else _parse(run, found.content)
        if found is not None and held is not None and held.token == mine.token:
            # Put, and the answer was lost.
            return found
        if held is None or held.is_dead() or (held == seen and monotonic() - seen_at >= held.expires_seconds):
            with suppress(Replaced):
                return file.replace(found, _bytes(replace(mine, heartbeat=time())))
            continue
        if held.is_here():
            raise _held(run, held)
        if seen is None:
            # Clocks differ between machines: what counts is whether it beats while we look.
            seen, seen_at = held, monotonic()
            say(
                f"{run.url} is held by {held.holder}; waiting up to {held.expires_seconds:g} s for a sign of life "
                "before this driver takes over."
            )
        elif held != seen:
            raise _held(run, held)
        sleep(POLL_SECONDS)


def _held(run: RunDirectory, held: Lease) -> RunHeld:
    return RunHeld(
        f"{run.url}: {held.holder} works on this run; wait until it has finished, stop it, or name another output"
    )


class _Heart:
    """The thread that says that the driver is alive, and stops it when it no longer holds the lease."""

    def __init__(
        self, run: RunDirectory, file: ExclusiveFile, mine: Lease, content: Content, interrupt: Callable[[], None]
    ):
        self._run = run
        self._interrupt = interrupt
        self._file = file
        self._mine = mine
        self._content = content
        self._ended = Event()
        self._thread = Thread(target=self._beat, name="lease", daemon=True)
        self.lost: ArdsError | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        if self.lost is None:
            # What cannot be deleted expires.
            with suppress(OSError):
                self._file.delete(self._content)

    def _beat(self) -> None:
        last = monotonic()
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                self._content = self._renewed()
                last = monotonic()
            except Replaced:
                self.lost = RunHeld(f"{self._run.url}: another driver took this run over; this one stops")
            except ArdsError as error:
                self.lost = error
            except OSError as error:
                # Sooner than others take over.
                if monotonic() - last > self._mine.expires_seconds / 2:
                    self.lost = ArdsError(f"{self._run.url}: the lease cannot be renewed ({error}); this driver stops")
            while self.lost is not None:
                self._interrupt()
                # Once is not enough where a library catches everything.
                if self._ended.wait(HEARTBEAT_SECONDS):
                    return

    def _renewed(self) -> Content:
        try:
            return self._file.replace(self._content, _bytes(replace(self._mine, heartbeat=time())))
        except Replaced:
            found = self._file.read()
            if found is not None and _parse(self._run, found.content).token == self._mine.token:
                # Put before, and the answer was lost.
                return found
            raise


def _bytes(lease: Lease) -> bytes:
    return (json.dumps(asdict(lease), indent=2) + "\n").encode()


def _parse(run: RunDirectory, content: bytes) -> Lease:
    try:
        values: Any = json.loads(content)
        return Lease(**values)
    except (ValueError, TypeError) as error:
        raise ArdsError(
            f"{run.url}/{LEASE}: damaged ({error}); delete it if no other driver works on this run"
        ) from error


def _namespace() -> str:
    # The boot is drawn by the kernel; what is in /etc is copied with the disk, and containers have none.
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(process: int) -> str | None:
    """The tick of this boot at which a process began; `ended` of one that only waits to be buried."""
    try:
        # The name stands in parentheses and may hold anything; the state is the third field, the tick the 22nd.
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except OSError:
        return None
    return "ended" if fields[0] in "ZX" else fields[19]
