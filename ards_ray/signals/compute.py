"""Signals: what is asked and missing of them is computed in one pass of the model."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from ards_ray.corpus.images import has_image
from ards_ray.corpus.readers import embedded_row
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.errors import ArdsError
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.run.fingerprint import fingerprint
from ards_ray.run.stage import Job
from ards_ray.run.workers import Wanted
from ards_ray.signals.clean import CLEAN
from ards_ray.signals.inputs import signal_inputs
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.reuse import earlier_signals, other_run, usable_signals
from ards_ray.signals.signal import FAILED, SignalDetails
from ards_ray.signals.work import SignalWork
from ards_ray.storage.location import locate

SAMPLED_IMAGES = 16

SignalPart = Part[SignalDetails]


def compute_signals(job: Job, names: Sequence[str], retry_failed: bool = False) -> None:
    """Compute signals of all conversations, where they are missing.

    What the model computes together decides the last bits of its numbers. So a signal whose part is missing is computed
    with those that it was computed with before: an interrupted run, or one that lost files, ends with the same as any
    other.

    Args:
        job: The job; its conversations are there.
        names: Names of the signals.
        retry_failed: Compute failed rows again.

    Raises:
        ArdsError: signals and conversations are not of the same rows afterwards.
    """
    conversations = CONVERSATIONS.parts(job.run)
    rows = {part.name: part.rows for part in conversations}
    done = {name: _done_shards(job, name, rows) for name in names}
    unfinished = [
        name
        for name in names
        if len(done[name]) < len(rows) or not job.state.is_done(SIGNALS[name].stage, signal_inputs(SIGNALS[name], job))
    ]
    generations = {name: job.state.generation(SIGNALS[name].stage, signal_inputs(SIGNALS[name], job)) for name in names}
    shards: dict[str, Wanted] = {
        shard: dict.fromkeys(wanted) for shard in rows if (wanted := _wanted(shard, generations, done))
    }
    if retry_failed:
        for name in names:
            for part in done[name].values():
                if part.details.failed and part.name not in shards:
                    shards[part.name] = {}
                if part.details.failed and name not in shards[part.name]:
                    shards[part.name] = {**shards[part.name], name: _failed_rows(job.run, name, part)}
    if shards or unfinished:
        _compute(job, names, shards, rows)
    for name in names:
        found = [(part.name, part.rows) for part in SIGNALS[name].table.parts(job.run)]
        if found != [(part.name, part.rows) for part in conversations]:
            raise ArdsError(
                f"{job.run.url}: the {name} signals and the conversations are not of the same rows; "
                "run `ards-ray verify`"
            )


def compute_rows(job: Job, name: str, rows: Mapping[str, Sequence[int]]) -> None:
    """Compute a signal of some rows, where it is missing.

    Args:
        job: The job; its conversations and clean losses are there.
        name: The signal.
        rows: The rows by shard.
    """
    table = SIGNALS[name].table
    sizes = {part.name: part.rows for part in CONVERSATIONS.parts(job.run)}
    inputs = signal_inputs(SIGNALS[name], job)
    parts = {part.name: part for part in table.parts(job.run) if part.fingerprint == fingerprint(inputs)}
    shards: dict[str, Wanted] = {}
    for shard, wanted in rows.items():
        there = set()
        if shard in parts:
            whole = parts[shard].rows == sizes[shard]
            there = set(wanted) if whole else set(table.read(job.run, shard, ["row"])["row"].to_pylist())
        missing = [row for row in wanted if row not in there]
        if missing:
            shards[shard] = {name: missing}
    if shards or not job.state.is_done(SIGNALS[name].stage, inputs):
        _compute(job, [name], shards, sizes, some_rows=True)


def _compute(
    job: Job, names: Sequence[str], shards: Mapping[str, Wanted], sizes: Mapping[str, int], some_rows: bool = False
) -> None:
    images = sample_images(job)
    job.workers.check(job.run, job.settings, job.model, images)
    total = sum(_count(wanted, sizes[shard]) for shard, wanted in shards.items())
    inputs = {name: signal_inputs(SIGNALS[name], job) for name in names}
    earlier = None
    if job.settings.runtime.reuse is not None:
        other = other_run(job.settings.runtime.reuse)
        # The clean losses tell which rows are whose.
        usable = usable_signals(other, {CLEAN.name: signal_inputs(CLEAN, job), **inputs})
        earlier = earlier_signals(other, usable)
    asked = {name for wanted in shards.values() for name in wanted}
    with ExitStack() as stack, job.progress("signals", total, "conversations") as progress:
        stamps = {}
        for name in names:
            unfinished = not job.state.is_done(SIGNALS[name].stage, inputs[name])
            if name in asked or unfinished:
                stamps[name] = stack.enter_context(job.stage(SIGNALS[name].stage, inputs[name]))
                SIGNALS[name].table.discard(job.run, keep=stamps[name])
        generations = {name: job.state.stages[SIGNALS[name].stage].generation for name in stamps}
        work = SignalWork(job.run.url, job.settings, job.model, stamps, generations, some_rows, tuple(images), earlier)
        for row in job.workers.score(work, shards, len(sizes)):
            progress.advance(row["conversations"])


def _count(wanted: Wanted, size: int) -> int:
    """How many conversations of a shard are scored."""
    return max(size if rows is None else len(rows) for rows in wanted.values())


def _done_shards(job: Job, name: str, rows: Mapping[str, int]) -> dict[str, SignalPart]:
    """Parts of a signal that are of all rows of their shards, by shard."""
    stamp = fingerprint(signal_inputs(SIGNALS[name], job))
    parts = SIGNALS[name].table.parts(job.run)
    return {part.name: part for part in parts if part.fingerprint == stamp and part.rows == rows.get(part.name)}


def _wanted(shard: str, generations: Mapping[str, int], done: Mapping[str, Mapping[str, SignalPart]]) -> Sequence[str]:
    """The signals that a shard lacks, given their generations, and those that were computed together with them."""
    missing = {(name, generation) for name, generation in generations.items() if shard not in done[name]}
    return [
        name for name in generations if shard not in done[name] or missing & done[name][shard].details.together.items()
    ]


def _failed_rows(run: RunDirectory, name: str, part: SignalPart) -> list[int]:
    table = SIGNALS[name].table.read(run, part.name, ["row", "status"]).to_pylist()
    return [entry["row"] for entry in table if entry["status"] == FAILED]


def sample_images(job: Job) -> list[str]:
    """Some image paths of the corpus whose files are there."""
    if job.settings.corpus.images is None:
        return []
    folder = locate(job.settings.corpus.images)
    first = CONVERSATIONS.parts(job.run)[0]
    table = CONVERSATIONS.read(job.run, first.name, ["images", "source"]).to_pylist()
    names = [image for row in table for image in row["images"] if embedded_row(image, row["source"]) is None]
    return [name for name in names[:SAMPLED_IMAGES] if has_image(name, folder, job.settings.corpus.links)]
