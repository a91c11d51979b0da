"""The selection job: from settings to a finished run."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rich.console import Console

from ards_ray.config import Settings
from ards_ray.console import print_failures, printable, say
from ards_ray.errors import RunChanged, SettingsError, TooManyFailed
from ards_ray.jobs.resolve import resolve_auto, with_absolute_paths
from ards_ray.jobs.steps import (
    Job,
    TakenSubgroups,
    signals_inputs,
    write_clusters,
    write_conversations,
    write_mixture,
    write_scores,
    write_signals,
    write_subgroups,
)
from ards_ray.methods.ards.reference import NO_ATTACKS, reference_stamp
from ards_ray.mixture import write as mixture
from ards_ray.mixture.summary import mixture_url, read_summary
from ards_ray.models.checkpoint import checkpoint_digest, checkpoint_folder
from ards_ray.models.family import load_inputs
from ards_ray.models.loading import check_proxy
from ards_ray.run.config import write_config
from ards_ray.run.directory import THREADS, Part, RunDirectory
from ards_ray.run.fingerprint import Inputs
from ards_ray.run.opening import open_run
from ards_ray.run.state import start_over
from ards_ray.signals import inputs
from ards_ray.signals.image_files import images_changed
from ards_ray.signals.reuse import check_earlier
from ards_ray.signals.workers import OpenWorkers
from ards_ray.validation import check_settings


@dataclass(frozen=True)
class Selected:
    """A finished selection.

    Attributes:
        run: Path or URL of the run.
        mixture: Path or URL of the mixture: a file, or a folder of Parquet parts.
        summary: The content of summary.json.
        worked: Whether there was something to do.
    """

    run: str
    mixture: str
    summary: dict[str, Any]
    worked: bool


def select(
    settings: Settings,
    console: Console | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    open_workers: OpenWorkers | None = None,
) -> Selected:
    """Select the mixture: run what is not done of a run.

    Args:
        settings: The settings; corpus, model and output are stated.
        console: Where progress goes; nowhere if not given.
        fresh: Throw away what an earlier run left in the output folder.
        retry_failed: Score failed conversations again.
        open_workers: What does the work; a Ray cluster if not given.

    Raises:
        SettingsError: a setting or an input file is wrong.
        TooManyFailed: more conversations failed than `limits.failed_fraction` allows.
        ArdsError: the job could not be finished.
    """
    console = console or Console(quiet=True)
    check_settings(settings)
    settings = with_absolute_paths(settings)
    if settings.subgroups.run is not None:
        settings = replace(settings, attacks=NO_ATTACKS)
    folder = checkpoint_folder(str(settings.proxy.model))
    load_inputs(folder)
    check_proxy(folder, settings.proxy)
    digests = [inputs.corpus_digest(file) for file in settings.corpus.files]
    tell = partial(say, console)
    with (
        open_run(str(settings.output), "selection", fresh, tell) as opened,
        (open_workers or _ray())(settings.proxy, tell) as workers,
    ):
        run, state = opened.directory, opened.state
        settings = resolve_auto(settings, state, workers)
        job = Job(run, settings, state, console, checkpoint_digest(folder), workers)
        conversation_inputs = inputs.conversations_inputs(settings, digests)
        _check_other_runs(job)
        unseen = _refuse_changes(job, conversation_inputs)
        workers.check(run, settings, job.model)
        if fresh:
            start_over(run)
            unseen = []
        parts = write_conversations(job, conversation_inputs)
        _refuse_changed_images(job, unseen)
        write_config(run, settings)
        signals = write_signals(job, parts, retry_failed)
        reasons = _check_failures(job, parts, signals)
        write_clusters(job, signals)
        write_subgroups(job, signals)
        write_scores(job, signals)
        write_mixture(job, parts, signals, reasons)
    return Selected(run.url, mixture_url(run), read_summary(run), job.worked)


def _ray() -> OpenWorkers:
    # Imported late: a plain loop needs no Ray.
    from ards_ray.cluster.workers import ray_workers

    return ray_workers


def _check_other_runs(job: Job) -> None:
    """Before any work: that the runs can be used whose subgroups or signals are to be taken over."""
    signals = signals_inputs(job, "")
    for key, url in (("subgroups.run", job.settings.subgroups.run), ("runtime.reuse", job.settings.runtime.reuse)):
        if url == job.run.url:
            raise SettingsError(f"{key}: {url} is the output itself; name another output")
    if job.settings.subgroups.run is not None:
        source = RunDirectory(job.settings.subgroups.run)
        job.reference = TakenSubgroups(source, reference_stamp(source, job.settings, signals))
    if job.settings.runtime.reuse is not None:
        check_earlier(RunDirectory(job.settings.runtime.reuse), signals)


def _refuse_changes(job: Job, conversation_inputs: Inputs) -> Sequence[Part]:
    """Refuse a change that would throw signals away, and image files that changed since they were scored.

    Returns:
        Signals whose part of the conversations is lost, so that their images cannot be looked at yet.
    """
    before = job.state.stages.get("signals")
    signals = [part for part in job.run.parts("signals") if before and part.fingerprint == before.fingerprint]
    if not signals:
        return []
    recorded = job.state.stages["conversations"].fingerprint
    differences = job.state.differences("conversations", conversation_inputs)
    differences += job.state.differences("signals", signals_inputs(job, recorded))
    if differences:
        raise RunChanged(
            f"{job.run.url}: its signals were made with other settings or inputs:\n  "
            + "\n  ".join(differences)
            + "\nname another output, or throw the run away with --fresh"
        )
    there = {part.name for part in job.run.parts("conversations")}
    _refuse_changed_images(job, [part for part in signals if part.name in there])
    return [part for part in signals if part.name not in there]


def _refuse_changed_images(job: Job, signals: Sequence[Part]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        changed = list(pool.map(lambda part: images_changed(job.run, job.settings, part), signals))
    if any(changed):
        names = ", ".join(part.name for part, differs in zip(signals, changed, strict=True) if differs)
        raise RunChanged(
            f"{job.run.url}: image files changed since they were scored, in the shards {names}; "
            "name another output, or throw the run away with --fresh"
        )


def _check_failures(job: Job, parts: Sequence[Part], signals: Sequence[Part]) -> Mapping[str, int]:
    failed = sum(part.details["failed"] for part in signals)
    total = sum(part.rows for part in signals)
    reasons = mixture.write_failures(job.run, parts, signals)
    if failed > job.settings.limits.failed_fraction * total:
        print_failures(reasons, job.console)
        example = printable(mixture.example_failure(job.run, reasons))
        raise TooManyFailed(
            f"{failed:,} of {total:,} conversations failed, more than limits.failed_fraction "
            f"({job.settings.limits.failed_fraction:g}) allows; no mixture is written, all that was scored is kept. "
            f"The most frequent reason, for example: {example}. "
            f"See {job.run.url}/failures.jsonl; mend the corpus and use --retry-failed, or raise the limit"
        )
    return reasons
