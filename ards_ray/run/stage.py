"""Stages: steps of a job, each done only where it is not done yet."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from rich.console import Console

from ards_ray.config import Settings
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.run.fingerprint import Inputs, digest
from ards_ray.run.progress import StageProgress
from ards_ray.run.state import RunState
from ards_ray.run.workers import Workers

SIGNALS_FOLDER = "signals"


@dataclass
class Job:
    """A job at work on a run.

    Attributes:
        run: The run.
        settings: Its settings, nothing `auto` in them.
        state: Its stages.
        console: Where progress goes.
        workers: How the work is spread.
        model: Digest of the proxy's checkpoint; empty where no model is asked.
        adapter: Digest of its adapter, or None.
        worked: Whether a stage had something to do.
    """

    run: RunDirectory
    settings: Settings
    state: RunState
    console: Console
    workers: Workers
    model: str = ""
    adapter: str | None = None
    worked: bool = False

    @contextmanager
    def stage(self, name: str, inputs: Inputs) -> Iterator[str]:
        """A stage at work, from its start to its end in run.json. Yields its fingerprint."""
        self.worked = True
        started = monotonic()
        yield self.state.start(name, inputs)
        self.state.finish(name, monotonic() - started)

    def progress(self, stage: str, total: int | None, unit: str = "parts") -> StageProgress:
        """Progress of a stage, counted in some unit."""
        return StageProgress(self.console, stage, total, unit)


@dataclass(frozen=True)
class Stage:
    """A step of a method's arithmetic.

    Attributes:
        name: Its name, which is the folder of its tables: `methods/ards/clusters`.
        version: Raised when the stage's code changes its numbers.
        after: Names of the stages and signals that it reads.
        depends: What of the settings its numbers depend on.
        work: Does what is missing, given the job and the stage's fingerprint.
        extra: What else its numbers depend on: fingerprints of other runs.
        completes: Signals of which it asks for some rows; the stage is done only where they are complete.
    """

    name: str
    version: int
    after: Sequence[str]
    depends: Callable[[Settings], Mapping[str, Any]]
    work: Callable[[Job, str], None]
    extra: Mapping[str, Any] = field(default_factory=dict)
    completes: Sequence[str] = ()

    def inputs(self, job: Job) -> Inputs:
        """What the stage's numbers depend on, as it is now."""
        return {
            "stage": self.name,
            "version": self.version,
            "after": {name: stamp_of(job.run, job.state, name) for name in self.after},
            **({"completes": list(self.completes)} if self.completes else {}),
            **self.depends(job.settings),
            **self.extra,
        }


def perform(job: Job, stage: Stage) -> None:
    """Do a stage, unless it is done."""
    inputs = stage.inputs(job)
    records = [job.state.stages.get(name) for name in stage.completes]
    if job.state.is_done(stage.name, inputs) and all(record and record.complete for record in records):
        return
    with job.stage(stage.name, inputs) as stamp:
        job.run.discard(stage.name, keep=stamp)
        stage.work(job, stamp)


def forget(job: Job, names: Collection[str]) -> None:
    """Throw away what stages made, and that there were such stages."""
    stamps = {job.state.stages[name].fingerprint for name in names}
    for part in job.run.finished() if names else ():
        if part.fingerprint in stamps:
            job.run.drop(part)
    for name in names:
        del job.state.stages[name]
    if names:
        job.state.save()


def stamp_of(run: RunDirectory, state: RunState, name: str) -> str:
    """What a stage that reads another notes of it: its fingerprint, or of a signal a digest of its parts.

    A signal's parts change under one fingerprint: failed rows are computed again, and further rows are added.
    """
    if name.startswith(f"{SIGNALS_FOLDER}/"):
        return parts_digest(run.parts(name))
    return state.stages[name].fingerprint if name in state.stages else ""


def parts_digest(parts: Sequence[Part]) -> str:
    """A digest of some parts as they are."""
    return digest(f"{part.path} {part.sha256}" for part in parts)


def is_current(run: RunDirectory, state: RunState, name: str) -> bool:
    """Whether a stage is complete, and what it was made of is so too and has not changed since."""
    record = state.stages.get(name)
    if record is None or not record.complete:
        return False
    return all(
        stamp_of(run, state, before) == stamp and is_current(run, state, before)
        for before, stamp in record.inputs.get("after", {}).items()
    )
