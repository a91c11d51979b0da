"""The selection job: from settings to finished mixtures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Console

from ards_ray.config import Settings
from ards_ray.console import print_failures, printable, say
from ards_ray.corpus.sources.registry import open_corpus
from ards_ray.corpus.stage import conversations_inputs, ensure_conversations
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.errors import RunChanged, SettingsError, TooManyFailed
from ards_ray.jobs.resolve import resolve_auto, with_absolute_paths
from ards_ray.methods.method import Corpus, Method
from ards_ray.methods.ranking import method_folder, mixture_stage
from ards_ray.methods.registry import methods_of
from ards_ray.mixture.budget import budget_count
from ards_ray.mixture.select import select_mixture, signals_of
from ards_ray.mixture.summary import read_summary
from ards_ray.mixture.write import mixture_url
from ards_ray.models.checkpoint import adapter_folder, checkpoint_digest, checkpoint_folder
from ards_ray.models.family import load_inputs
from ards_ray.models.loading import check_proxy
from ards_ray.run.config import write_config
from ards_ray.run.fingerprint import changes, fingerprint
from ards_ray.run.opening import open_run
from ards_ray.run.stage import Job, forget, perform
from ards_ray.run.state import start_over
from ards_ray.run.workers import OpenWorkers
from ards_ray.signals.compute import compute_signals
from ards_ray.signals.failures import example_failure, failure_reasons, write_failures
from ards_ray.signals.image_files import changed_shards
from ards_ray.signals.inputs import signal_inputs
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.reuse import other_run, usable_signals
from ards_ray.validation import check_settings


@dataclass(frozen=True)
class Mixture:
    """What a method selected.

    Attributes:
        url: Path or URL of the mixture: a file, or a folder of Parquet parts.
        summary: The content of its summary.json.
    """

    url: str
    summary: dict[str, Any]


@dataclass(frozen=True)
class Selected:
    """A finished selection.

    Attributes:
        run: Path or URL of the run.
        methods: The mixture of each method, by its name.
        worked: Whether there was something to do.
    """

    run: str
    methods: Mapping[str, Mixture]
    worked: bool


def select(
    settings: Settings,
    console: Console | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    open_workers: OpenWorkers | None = None,
) -> Selected:
    """Select the mixture of each method: run what is not done of a run.

    Args:
        settings: The settings; corpus and output are stated, and a model where a method asks one.
        console: Where progress goes; nowhere if not given.
        fresh: Throw away what was made with other settings or inputs; the whole run, if nothing changed.
        retry_failed: Score failed conversations again.
        open_workers: What does the work; a Ray cluster if not given.

    Raises:
        SettingsError: a setting or an input file is wrong.
        TooManyFailed: more conversations failed than `limits.failed_fraction` allows.
        ArdsError: the job could not be finished.
    """
    console = console or Console(quiet=True)
    check_settings(settings)
    methods = methods_of(settings)
    settings = with_absolute_paths(settings, methods)
    signals = [name for name in SIGNALS if any(name in method.signals(settings) for method in methods)]
    model, adapter = _proxy_digests(settings) if signals else ("", None)
    digests = [source.digest() for source in open_corpus(settings.corpus.files)]
    tell = partial(say, console)
    with (
        open_run(str(settings.output), "selection", fresh, tell) as opened,
        _workers(open_workers, bool(signals))(settings.proxy, tell) as workers,
    ):
        run, state = opened.directory, opened.state
        if signals:
            settings = resolve_auto(settings, state, workers)
        job = Job(run, settings, state, console, workers, model, adapter)
        inputs = conversations_inputs(settings, digests)
        for method in methods:
            method.check(job)
        if signals and settings.runtime.reuse is not None:
            _check_reuse(job, signals)
        unseen = [] if fresh else _refuse_changes(job, inputs, signals)
        if signals:
            workers.check(run, settings, model)
        if fresh:
            _throw_away(job, inputs, signals, methods)
        ensure_conversations(job, inputs)
        for method in methods:
            _check_corpus(job, method)
        if unseen:
            _refuse_changed_images(job, _changed_images(job, signals)[0])
        write_config(run, settings)
        compute_signals(job, signals, retry_failed)
        write_failures(run)
        for method in methods:
            _refuse_failures(job, method)
        for method in methods:
            stages = method.stages(job)
            forget(job, _no_longer(job, method, [stage.name for stage in stages]))
            for stage in stages:
                perform(job, stage)
            select_mixture(job, method)
        write_failures(run)
    names = [method.name for method in methods]
    mixtures = {name: Mixture(mixture_url(run, method_folder(name)), read_summary(run, name)) for name in names}
    return Selected(run.url, mixtures, job.worked)


def _proxy_digests(settings: Settings) -> tuple[str, str | None]:
    """Digests of the checkpoint and its adapter, which can be loaded."""
    folder = checkpoint_folder(str(settings.proxy.model))
    load_inputs(folder)
    check_proxy(folder, settings.proxy)
    adapter = settings.proxy.adapter
    return checkpoint_digest(folder), checkpoint_digest(adapter_folder(adapter)) if adapter else None


def _workers(open_workers: OpenWorkers | None, asks: bool) -> OpenWorkers:
    """The workers; a plain loop where no model is asked, since the arithmetic of those methods is the driver's."""
    if open_workers is not None:
        return open_workers
    # Imported late: a plain loop needs no Ray.
    if asks:
        from ards_ray.cluster.workers import ray_workers

        return ray_workers
    from ards_ray.signals.loop import loop_workers

    return loop_workers


def _check_reuse(job: Job, signals: Sequence[str]) -> None:
    """Before any work: that there are signals to be taken over, and which are not."""
    url = str(job.settings.runtime.reuse)
    if url == job.run.url:
        raise SettingsError(f"runtime.reuse: {url} is the output itself; name another output")
    other = other_run(url)
    usable = usable_signals(other, {name: signal_inputs(SIGNALS[name], job) for name in signals})
    others = [name for name in signals if name not in usable]
    if others:
        say(job.console, f"{url}: {', '.join(usable)} are taken over; {', '.join(others)} are computed.")


def _refuse_changes(job: Job, inputs: Mapping[str, Any], signals: Sequence[str]) -> Sequence[str]:
    """Refuse a change that would throw signals away, and image files that changed since they were scored.

    Returns:
        Names of the shards whose conversations are lost, so that their images cannot be looked at yet.
    """
    run, state = job.run, job.state
    there = {name: SIGNALS[name].table.parts(run) for name in SIGNALS}
    if not any(there.values()):
        return []
    differences = state.differences(CONVERSATIONS.folder, inputs)
    for name in signals:
        record = state.stages.get(SIGNALS[name].stage)
        if record is not None and there[name]:
            found = changes(record.inputs, signal_inputs(SIGNALS[name], job))
            differences += [f"{line} ({name})" if line.startswith("version") else line for line in found]
    differences = list(dict.fromkeys(line for line in differences if not line.startswith("after.")))
    if differences:
        raise RunChanged(
            f"{run.url}: its signals were made with other settings or inputs:\n  "
            + "\n  ".join(differences)
            + "\nname another output, or throw away what was made with them with --fresh"
        )
    changed, unseen = _changed_images(job, signals)
    _refuse_changed_images(job, changed)
    return unseen


def _no_longer(job: Job, method: Method, stages: Sequence[str]) -> list[str]:
    """Stages that a method had under other settings, and has no longer."""
    own = f"{method_folder(method.name)}/"
    return [
        name for name in job.state.stages if name.startswith(own) and name not in (*stages, mixture_stage(method.name))
    ]


def _throw_away(job: Job, inputs: Mapping[str, Any], signals: Sequence[str], methods: Sequence[Method]) -> None:
    """Throw away the whole run, unless only signals were made with other settings: those are made again.

    What is kept must be of the image files as they are now. Signals that these methods do not ask are kept as well, if
    nothing changed: they are those of other methods.
    """
    state = job.state
    changed = [name for name in signals if state.differences(SIGNALS[name].stage, signal_inputs(SIGNALS[name], job))]
    others = [name for name in SIGNALS if name not in signals and SIGNALS[name].stage in state.stages]
    stale = state.differences(CONVERSATIONS.folder, inputs) or any(_changed_images(job, signals))
    if not changed and others and not stale:
        own = tuple(f"{method_folder(method.name)}/" for method in methods)
        asked = [SIGNALS[name].stage for name in signals]
        forget(job, [name for name in state.stages if name.startswith(own) or name in asked])
        return
    if not changed or stale:
        start_over(job.run)
        state.stages.clear()
        return
    kept = [name for name in SIGNALS if name not in changed and SIGNALS[name].stage in state.stages]
    if kept:
        say(job.console, f"{job.run.url}: made again: {', '.join(changed)}; kept: {', '.join(kept)}.")


def _changed_images(job: Job, signals: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The shards of which image files changed since they were scored, of what was made with these settings and inputs.

    Returns:
        Their names, and those of the shards whose conversations are lost, so that it cannot be told of them.
    """
    known = {part.name for part in CONVERSATIONS.parts(job.run)}
    current = {
        name: [part for part in SIGNALS[name].table.parts(job.run) if part.fingerprint == stamp]
        for name, stamp in ((name, fingerprint(signal_inputs(SIGNALS[name], job))) for name in signals)
    }
    seen = {name: [part for part in parts if part.name in known] for name, parts in current.items()}
    unseen = {part.name for parts in current.values() for part in parts} - known
    return changed_shards(job.run, job.settings, seen), sorted(unseen)


def _refuse_changed_images(job: Job, changed: Sequence[str]) -> None:
    if changed:
        raise RunChanged(
            f"{job.run.url}: image files changed since they were scored, in the shards {', '.join(changed)}; "
            "name another output, or throw the run away with --fresh"
        )


def _check_corpus(job: Job, method: Method) -> None:
    corpus = Corpus(job, signals_of(method, job.settings))
    budget = job.settings.mixture.budget
    wanted = budget_count(budget, corpus.size)
    if not wanted and not method.size(corpus, wanted):
        raise SettingsError(f"mixture.budget: {budget} of {corpus.size:,} conversations is none of them")
    method.check_corpus(corpus)


def _refuse_failures(job: Job, method: Method) -> None:
    reasons = failure_reasons(job.run, method.signals(job.settings))
    failed = sum(reasons.values())
    total = sum(part.rows for part in CONVERSATIONS.parts(job.run))
    if failed > job.settings.limits.failed_fraction * total:
        print_failures(reasons, job.console)
        example = printable(example_failure(job.run, reasons))
        raise TooManyFailed(
            f"{failed:,} of {total:,} conversations failed, more than limits.failed_fraction "
            f"({job.settings.limits.failed_fraction:g}) allows; no mixture is written, all that was scored is kept. "
            f"The most frequent reason, for example: {example}. "
            f"See {job.run.url}/failures.jsonl; mend the corpus and use --retry-failed, or raise the limit"
        )
