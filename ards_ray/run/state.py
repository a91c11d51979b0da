"""run.json: the stages of a run, what went into each, and whether it is complete."""

from collections import Counter
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from ards_ray import __version__
from ards_ray.errors import ArdsError, RunChanged
from ards_ray.run.directory import RUN_FILE, RunDirectory
from ards_ray.run.fields import fields_problem
from ards_ray.run.fingerprint import Inputs, changes, fingerprint

SCHEMA_VERSION = 4
_RECORD = {
    "fingerprint": str,
    "inputs": dict,
    "complete": bool,
    "seconds": int | float,
    "files": int,
    "generation": int,
}
PACKAGES = ("ray", "torch", "transformers", "faiss-cpu", "pyarrow", "numpy", "pillow")


@dataclass(frozen=True)
class StageRecord:
    """A stage as run.json tells it.

    Attributes:
        fingerprint: Its fingerprint.
        inputs: What the fingerprint is of.
        complete: Whether it came to its end.
        seconds: What it took.
        files: How many files it finished.
        generation: Raised whenever the stage starts with another fingerprint than before.
    """

    fingerprint: str
    inputs: dict[str, Any]
    complete: bool
    seconds: float
    files: int = 0
    generation: int = 1


def versions() -> dict[str, str]:
    """Versions of what made the numbers."""
    return {"ards_ray": __version__, **{name: version(name) for name in PACKAGES}}


def start_over(run: RunDirectory) -> None:
    """Throw away what a run holds.

    Its run file says so last: killed in between, it is a run of which files are gone, and what made those that are left
    is known. With an empty run file they would pass for new ones.
    """
    run.clear()
    run.write_json(RUN_FILE, {"schema_version": SCHEMA_VERSION, "stages": {}, "versions": versions()})


class RunState:
    """The stages of a run, read from and kept in run.json.

    Raises:
        RunChanged: run.json is of another version.
        ArdsError: run.json is damaged.
    """

    def __init__(self, run: RunDirectory, fresh: bool = False):
        self.run = run
        self.stages = _read_stages(run) if run.exists(RUN_FILE) and not fresh else {}

    def is_done(self, stage: str, inputs: Inputs) -> bool:
        record = self.stages.get(stage)
        return record is not None and record.complete and record.fingerprint == fingerprint(inputs)

    def differences(self, stage: str, inputs: Inputs) -> list[str]:
        """What changed since the stage was last started; nothing if it never was."""
        record = self.stages.get(stage)
        return changes(record.inputs, inputs) if record else []

    def generation(self, stage: str, inputs: Inputs) -> int:
        """The generation of a stage that is started with these inputs."""
        before = self.stages.get(stage)
        if before is None:
            return 1
        return before.generation + (before.fingerprint != fingerprint(inputs))

    def start(self, stage: str, inputs: Inputs) -> str:
        """Note that a stage begins. Returns its fingerprint. Seconds add up over interruptions."""
        stamp = fingerprint(inputs)
        before = self.stages.get(stage)
        spent = before.seconds if before and before.fingerprint == stamp else 0.0
        generation = self.generation(stage, inputs)
        self.stages[stage] = StageRecord(stamp, dict(inputs), False, spent, generation=generation)
        self.save()
        return stamp

    def finish(self, stage: str, seconds: float) -> None:
        """Note that a stage is complete, and gather the manifest's entries."""
        record = self.stages[stage]
        seconds = round(record.seconds + seconds, 3)
        files = sum(part.fingerprint == record.fingerprint for part in self.run.gather())
        self.stages[stage] = replace(record, complete=True, seconds=seconds, files=files)
        self.save()

    def reopen(self, stamp: str) -> None:
        """Note that a stage of a fingerprint is not complete, after one of its files was lost."""
        for name, record in self.stages.items():
            if record.fingerprint == stamp:
                self.stages[name] = replace(record, complete=False)
                self.save()

    def reopen_incomplete(self) -> list[str]:
        """Note of each stage that it is not complete if files of it are gone together with their entries."""
        counts = self._counts()
        complete = [(name, record) for name, record in self.stages.items() if record.complete]
        found = [name for name, record in complete if counts[record.fingerprint] != record.files]
        for name in found:
            self.reopen(self.stages[name].fingerprint)
        return found

    def _counts(self) -> Counter[str]:
        """How many finished files each fingerprint has."""
        return Counter(part.fingerprint for part in self.run.finished())

    def save(self) -> None:
        self.run.write_json(
            RUN_FILE,
            {
                "schema_version": SCHEMA_VERSION,
                "stages": {name: vars(record) for name, record in self.stages.items()},
                "versions": versions(),
            },
        )


def _read_stages(run: RunDirectory) -> dict[str, StageRecord]:
    content = run.read_json(RUN_FILE)
    # Another version may have another shape.
    if isinstance(content, dict) and content.get("schema_version") != SCHEMA_VERSION:
        raise RunChanged(
            f"{run.url}: made with schema version {content.get('schema_version')}, this is {SCHEMA_VERSION}; "
            "name another output, where --reuse takes over its signals, or start over with --fresh"
        )
    if problem := _problem(content):
        raise ArdsError(f"{run.url}/{RUN_FILE}: damaged ({problem}); put a copy of it back, or start over with --fresh")
    return {name: StageRecord(**{key: record[key] for key in _RECORD}) for name, record in content["stages"].items()}


def _problem(content: Any) -> str | None:
    """What is wrong with the content of run.json; nothing is None."""
    if problem := fields_problem(content, {"stages": dict}):
        return problem
    for name, record in content["stages"].items():
        if problem := fields_problem(record, _RECORD):
            return f"stage {name!r}: {problem}"
    return None
