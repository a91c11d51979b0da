"""Opening a run: one way for every job."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from ards_ray.errors import ArdsError, SettingsError
from ards_ray.run.directory import RunDirectory
from ards_ray.run.lease import hold_lease
from ards_ray.run.state import RunState

Kind = Literal["selection", "evaluation"]
# For each kind the table that a run of the other kind begins with, and what that run is.
_OTHERS: dict[Kind, tuple[str, str]] = {
    "selection": ("answers", "an evaluation"),
    "evaluation": ("conversations", "a selection"),
}


@dataclass(frozen=True)
class OpenRun:
    """A run that this process alone works on.

    Attributes:
        directory: Its folder, in which every file that the manifest names is there in its full size.
        state: Its stages.
        is_readable: False where `fresh` was given and what the folder holds is damaged, or of another version: then
            the state has no stages, and all of it is to be thrown away.
    """

    directory: RunDirectory
    state: RunState
    is_readable: bool = True


@contextmanager
def open_run(url: str, kind: Kind, fresh: bool, say: Callable[[str], None]) -> Iterator[OpenRun]:
    """Hold a run for the time of a `with` block, and remove what killed writers left in it.

    A finished file that is missing or has another size is dropped, and its stage is no longer complete. With `fresh`
    nothing is thrown away here: call `start_over` when all else is checked.

    Args:
        url: An absolute path or a URL; the folder is made if it is missing.
        kind: What the run must be, unless it is new.
        fresh: Whether what the folder holds may be thrown away, so that it need not be readable.
        say: Told what was lost, and why it takes long.

    Raises:
        SettingsError: the folder cannot be written, or holds something else or a run of another kind.
        RunHeld: another driver works on the run.
        RunChanged: the run was made by another version; not with `fresh`.
        ArdsError: a file that describes the run is damaged; not with `fresh`.
    """
    run = RunDirectory(url)
    run.prepare()
    with hold_lease(run, say):
        table, other = _OTHERS[kind]
        if run.exists(table):
            raise SettingsError(f"{run.url}: the output holds {other}; name another")
        yield _opened(run, fresh, say)


def _opened(run: RunDirectory, fresh: bool, say: Callable[[str], None]) -> OpenRun:
    try:
        state = RunState(run)
        _clean_up(run, state, say)
    except ArdsError:
        if not fresh:
            raise
        return OpenRun(run, RunState(run, fresh), False)
    return OpenRun(run, state)


def _clean_up(run: RunDirectory, state: RunState, say: Callable[[str], None]) -> None:
    """Remove what killed writers left, and have made again what was finished and is not whole any more."""
    for part, problem in run.sweep():
        say(f"{run.url}/{part.path}: {problem}; it is made again.")
        state.reopen(part.fingerprint)
        run.drop(part)
    for stage in state.reopen_incomplete():
        say(f"{run.url}: files of {stage} are gone from the manifest; they are made again.")
