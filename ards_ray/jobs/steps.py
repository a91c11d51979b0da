"""The stages of a selection, each done only where it is not done yet."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from rich.console import Console

from ards_ray.config import Settings
from ards_ray.corpus.images import has_image
from ards_ray.corpus.readers import embedded_row
from ards_ray.corpus.sources.registry import open_corpus
from ards_ray.errors import ArdsError, SettingsError
from ards_ray.methods.ards import clusters, subgroups
from ards_ray.methods.ards.information import Scorer
from ards_ray.methods.ards.reference import take_clusters, take_subgroups
from ards_ray.methods.ards.scores import score_parts
from ards_ray.methods.ards.similarity import mean_cosines
from ards_ray.mixture import write as mixture
from ards_ray.mixture.budget import budget_count
from ards_ray.mixture.summary import SUMMARY, summarise
from ards_ray.models.checkpoint import adapter_folder, checkpoint_digest
from ards_ray.run.directory import THREADS, Part, RunDirectory
from ards_ray.run.fingerprint import Inputs, fingerprint
from ards_ray.run.progress import StageProgress
from ards_ray.run.state import RunState
from ards_ray.signals import conversations, inputs
from ards_ray.signals.reuse import Earlier, earlier_rows
from ards_ray.signals.score import score_corrupted
from ards_ray.signals.vectors import grouped, read_places
from ards_ray.signals.workers import Row, Workers
from ards_ray.storage.location import locate

SAMPLED_IMAGES = 16

Group = tuple[str, Sequence[Part]]


@dataclass(frozen=True)
class TakenSubgroups:
    """Another run whose subgroups are taken over, and their fingerprint."""

    run: RunDirectory
    stamp: str


@dataclass
class Job:
    """A selection run at work.

    Attributes:
        run: The run.
        settings: Its settings, nothing `auto` in them.
        state: Its stages.
        console: Where progress goes.
        model: Digest of the checkpoint.
        workers: How the work is spread.
        reference: Another run's subgroups, if they are taken over.
        worked: Whether a stage had something to do.
    """

    run: RunDirectory
    settings: Settings
    state: RunState
    console: Console
    model: str
    workers: Workers
    reference: TakenSubgroups | None = None
    worked: bool = False

    @contextmanager
    def stage(self, name: str, stage_inputs: Inputs) -> Iterator[str]:
        """A stage at work, from its start to its end in run.json. Yields its fingerprint."""
        self.worked = True
        started = monotonic()
        yield self.state.start(name, stage_inputs)
        self.state.finish(name, monotonic() - started)

    def earlier_rows(self, stage_inputs: Inputs) -> Earlier | None:
        """The rows that the run of `runtime.reuse` has scored."""
        reuse = self.settings.runtime.reuse
        return None if reuse is None else earlier_rows(RunDirectory(reuse), stage_inputs)

    def progress(self, stage: str, total: int | None, unit: str = "parts") -> StageProgress:
        return StageProgress(self.console, stage, total, unit)


def signals_inputs(job: Job, conversations_stage: str) -> dict[str, Any]:
    adapter = job.settings.proxy.adapter
    return inputs.signals_inputs(
        job.settings,
        conversations_stage,
        job.model,
        checkpoint_digest(adapter_folder(adapter)) if adapter else None,
    )


def write_conversations(job: Job, stage_inputs: Inputs) -> list[Part]:
    if not job.state.is_done("conversations", stage_inputs) or _embedded_images_moved(job):
        with job.stage("conversations", stage_inputs) as stage, job.progress("conversations", None, "rows") as progress:
            job.run.discard("conversations")
            for part in conversations.write_conversations(job.run, job.settings, stage):
                progress.advance(part.rows)
    parts = job.run.parts("conversations")
    total = sum(part.rows for part in parts)
    if not budget_count(job.settings.mixture.budget, total):
        raise SettingsError(f"mixture.budget: {job.settings.mixture.budget} of {total:,} conversations is none of them")
    if job.reference is None and not conversations.can_have_subgroups(job.run, parts, job.settings):
        raise SettingsError(
            "nothing in this corpus can be corrupted with these attacks, so there is no worst case to select for; "
            "see attacks.symbol, attacks.permutation, attacks.noise"
        )
    return parts


def _embedded_images_moved(job: Job) -> bool:
    """Whether a corpus with embedded images lies elsewhere now: they are read from where the conversations say."""
    files = job.settings.corpus.files
    if not any(source.embeds_images for source in open_corpus(files)):
        return False
    sources = job.run.read_columns(job.run.parts("conversations"), ["source"])["source"]
    return not set(sources.unique().to_pylist()) <= set(files)


def write_signals(job: Job, parts: Sequence[Part], retry_failed: bool) -> list[Part]:
    stage_inputs = signals_inputs(job, job.state.stages["conversations"].fingerprint)
    stamp = fingerprint(stage_inputs)
    done = {part.name: part for part in job.run.parts("signals") if part.fingerprint == stamp}
    shards: dict[str, Sequence[int] | None] = {part.name: None for part in parts if part.name not in done}
    if retry_failed:
        shards.update({name: _failed_rows(job.run, part) for name, part in done.items() if part.details["failed"]})
    if shards or not job.state.is_done("signals", stage_inputs):
        images = _sample_images(job, parts)
        job.workers.check(job.run, job.settings, job.model, images)
        sizes = {part.name: part.rows for part in parts}
        total = sum(sizes[name] if rows is None else len(rows) for name, rows in shards.items())
        earlier = job.earlier_rows(stage_inputs)
        with job.stage("signals", stage_inputs) as stage, job.progress("signals", total, "conversations") as progress:
            job.run.discard("signals", keep=stage)
            for row in job.workers.score(job.run, job.settings, shards, len(parts), job.model, stage, earlier, images):
                progress.advance(row["conversations"])
    signals = job.run.parts("signals")
    if [(part.name, part.rows) for part in signals] != [(part.name, part.rows) for part in parts]:
        raise ArdsError(f"{job.run.url}: signals and conversations are not of the same rows; run `ards-ray verify`")
    return signals


def _failed_rows(run: RunDirectory, part: Part) -> list[int]:
    table = run.read_table(part.path, ["row", "status"]).to_pylist()
    return [entry["row"] for entry in table if entry["status"] == "failed"]


def _sample_images(job: Job, parts: Sequence[Part]) -> list[str]:
    """Some image paths of the corpus whose files are there."""
    if job.settings.corpus.images is None:
        return []
    folder = locate(job.settings.corpus.images)
    table = job.run.read_table(parts[0].path, ["images", "source"]).to_pylist()
    names = [image for row in table for image in row["images"] if embedded_row(image, row["source"]) is None]
    return [name for name in names[:SAMPLED_IMAGES] if has_image(name, folder, job.settings.corpus.links)]


def write_clusters(job: Job, signals: Sequence[Part]) -> None:
    stage_inputs = inputs.clusters_inputs(job.settings, signals, job.reference.stamp if job.reference else None)
    if job.state.is_done("clusters", stage_inputs):
        return
    run, settings = job.run, job.settings
    with job.stage("clusters", stage_inputs) as stage:
        run.discard("clusters", keep=stage)
        wanted = {} if job.reference else clusters.formats_to_cluster(signals, settings)
        steps = (len(signals) if settings.vectors.center and wanted else 0) + len(wanted) + len(signals)
        with job.progress("clusters", steps) as progress:
            if job.reference:
                width = signals[0].details["width"]
                centroids, center = take_clusters(job.reference.run, run, settings, width, stage)
            else:
                centroids, center = _train(job, signals, wanted, stage, progress)
            missing = _missing(run, "clusters", signals)
            progress.advance(len(signals) - sum(map(len, missing.values())))
            for row in job.workers.map(_assign_parts, list(missing.items()), run.url, centroids, center, stage):
                progress.advance(row["parts"])


def _train(
    job: Job, signals: Sequence[Part], wanted: Mapping[str, int], stage: str, progress: StageProgress
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Centroids, float32 [k, d] for each format, and the centre, float32 [d]; written."""
    run, settings = job.run, job.settings
    started = monotonic()
    center = None
    if settings.vectors.center:
        center = _mean_of_units(job, signals, progress)
        clusters.write_center(run, center, stage, started)
    started = monotonic()
    centroids = {}
    trained = job.workers.call(_train_format, list(wanted.items()), run.url, list(signals), settings, center)
    for name, block in zip(wanted, trained, strict=True):
        centroids[name] = block
        progress.advance()
    clusters.write_centroids(run, centroids, signals[0].details["width"], stage, started)
    return centroids, center


def _train_format(
    name: str, k: int, output: str, signals: Sequence[Part], settings: Settings, center: np.ndarray | None
) -> np.ndarray:
    return clusters.train_format(RunDirectory(output), signals, name, k, settings, center)


def _mean_of_units(job: Job, signals: Sequence[Part], progress: StageProgress) -> np.ndarray:
    """Mean of all unit vectors, float32 [d]; summed in the order of the parts, in whatever order they are finished."""
    total = np.zeros(signals[0].details["width"])
    left = sorted((part.name for part in signals), reverse=True)
    waiting: dict[str, np.ndarray] = {}
    for row in job.workers.map(_sum_part, signals, job.run.url):
        waiting[row["name"]] = row["sum"]
        while left and left[-1] in waiting:
            total += waiting.pop(left.pop())
        progress.advance()
    mean: np.ndarray = (total / sum(part.details["ok"] for part in signals)).astype(np.float32)
    return mean


def _sum_part(part: Part, output: str) -> Row:
    return {"name": part.name, "sum": clusters.sum_of_units(RunDirectory(output), part)}


def _missing(run: RunDirectory, table: str, signals: Sequence[Part]) -> dict[str, Sequence[Part]]:
    """The groups of signals parts that the parts of a table are still to be made of."""
    done = {part.name for part in run.parts(table)}
    return {name: group for name, group in grouped(signals).items() if name not in done}


def _assign_parts(
    group: Group, output: str, centroids: dict[str, np.ndarray], center: np.ndarray | None, stage: str
) -> Row:
    clusters.assign_parts(RunDirectory(output), *group, centroids, center, stage)
    return {"parts": len(group[1])}


def write_subgroups(job: Job, signals: Sequence[Part]) -> None:
    stage_inputs = inputs.subgroups_inputs(job.settings, job.state.stages["clusters"].fingerprint)
    if job.state.is_done("subgroups", stage_inputs):
        return
    run, settings = job.run, job.settings
    with job.stage("subgroups", stage_inputs) as stage:
        run.discard("subgroups", keep=stage)
        if job.reference:
            take_subgroups(job.reference.run, run, stage)
            return
        started = monotonic()
        found = subgroups.choose_members(run, signals, settings)
        wanted: dict[int, dict[int, int]] = {}
        for item in found:
            for index, place, row in zip(item.parts, item.places, item.rows, strict=True):
                wanted.setdefault(int(index), {})[int(place)] = int(row)
        vectors: dict[int, np.ndarray] = {}
        with job.progress("subgroups", len(wanted)) as progress, ThreadPoolExecutor(THREADS) as pool:
            read = pool.map(lambda index: read_places(run, signals[index], list(wanted[index])), wanted)
            for places, block in zip(wanted.values(), read, strict=True):
                vectors.update(zip(places.values(), block, strict=True))
                progress.advance()
        corrupted: dict[int, np.ndarray] = {}
        if settings.subgroups.versions == "clean+corrupted":
            rows: dict[str, list[int]] = {}
            for index, row_number in subgroups.corrupted_members(found):
                rows.setdefault(signals[index].name, []).append(row_number)
            images = _sample_images(job, run.parts("conversations"))
            corrupted = job.workers.with_proxy(score_corrupted, settings, images, run.url, rows, job.model)
        subgroups.write_subgroups(run, settings, found, vectors, corrupted, stage, started)


def write_scores(job: Job, signals: Sequence[Part]) -> None:
    stage_inputs = inputs.scores_inputs(job.settings, job.state.stages["subgroups"].fingerprint)
    if job.state.is_done("scores", stage_inputs):
        return
    run, settings = job.run, job.settings
    with job.stage("scores", stage_inputs) as stage:
        run.discard("scores", keep=stage)
        missing = _missing(run, "scores", signals)
        scorer = Scorer(subgroups.read_reference(run, settings), settings.score.aggregate, settings.score.similarity)
        with job.progress("scores", sum(map(len, missing.values()))) as progress:
            for row in job.workers.map(_score_parts, list(missing.items()), run.url, scorer, stage):
                progress.advance(row["parts"])


def _score_parts(group: Group, output: str, scorer: Scorer, stage: str) -> Row:
    score_parts(RunDirectory(output), *group, scorer, stage)
    return {"parts": len(group[1])}


def write_mixture(job: Job, parts: Sequence[Part], signals: Sequence[Part], reasons: Mapping[str, int]) -> None:
    stage_inputs = inputs.mixture_inputs(job.settings, job.state.stages["scores"].fingerprint)
    if job.state.is_done("mixture", stage_inputs) and job.run.exists(SUMMARY):
        return
    run, settings = job.run, job.settings
    with job.stage("mixture", stage_inputs) as stage:
        run.discard("mixture")
        run.discard("information")
        run.delete(SUMMARY)
        with job.progress("mixture", 3, "steps") as progress:
            selection = mixture.select(run, settings, conversations.corpus_formats(parts))
            progress.advance()
            mixture.write_information(run, selection, stage)
            progress.advance()
            counts = mixture.write_mixture(run, "methods/ards", parts, selection.selected, settings.corpus.files, stage)
            cosines = mean_cosines(run, signals, settings)
            progress.advance()
    run.write_json(SUMMARY, summarise(run, job.state, signals, reasons, selection, counts, cosines))
