"""The evaluation job: from settings to results."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any

from pyarrow.fs import FileType
from rich.console import Console

from ards_ray.cluster.asking import Examination, examine
from ards_ray.cluster.failure import known_cause
from ards_ray.cluster.preflight import check_nodes
from ards_ray.cluster.resources import Workers, plan_replicas, resolve_device
from ards_ray.cluster.session import ray_session
from ards_ray.config import CorpusSettings, RuntimeSettings, Settings
from ards_ray.console import say
from ards_ray.errors import ArdsError, RunChanged, SettingsError
from ards_ray.evaluation.answers import to_table
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.benchmarks.registry import benchmark_of, read_questions
from ards_ray.evaluation.engine import EngineSettings, first_tokens, tokens_of
from ards_ray.evaluation.images import FileImage, image_stamps
from ards_ray.evaluation.log import AnswerLog
from ards_ray.evaluation.metrics import NO_METRICS, metrics_of
from ards_ray.evaluation.question import NotEvaluated, Question
from ards_ray.evaluation.settings import EvaluationSettings, check_evaluation
from ards_ray.models.checkpoint import adapter_folder, checkpoint_digest, checkpoint_folder
from ards_ray.models.family import ProxyInputs, load_inputs
from ards_ray.models.loading import check_proxy
from ards_ray.report.evaluation import ANSWERS_FILE, NOT_EVALUATED, RESULTS_MD, Result, print_results, write_summary
from ards_ray.run.config import write_config
from ards_ray.run.directory import RunDirectory
from ards_ray.run.lease import hold_lease
from ards_ray.run.progress import StageProgress
from ards_ray.run.state import RunState, start_over
from ards_ray.storage.location import locate

# Raised when the code changes what a model is asked or how its answer is read.
VERSION = 2


@dataclass(frozen=True)
class _Read:
    """A benchmark as it was read.

    Attributes:
        questions: Those that can be evaluated.
        not_evaluated: The others, and why.
        stamps: For each question what changes when its image files do.
    """

    questions: Sequence[Question]
    not_evaluated: Sequence[NotEvaluated]
    stamps: Mapping[str, str]


def evaluate(settings: EvaluationSettings, console: Console, fresh: bool = False) -> None:
    """Ask what is not answered yet, write the results and print them.

    Args:
        settings: The settings; model, benchmarks and output are stated.
        console: Where progress and results go.
        fresh: Throw away what an earlier evaluation left in the output.

    Raises:
        SettingsError: an option or an input file is wrong.
        ArdsError: the job could not be finished, or no question of a benchmark could be evaluated.
    """
    check_evaluation(settings)
    settings = _with_absolute_paths(settings)
    folder = checkpoint_folder(str(settings.model))
    inputs = load_inputs(folder)
    # Before anything is read: whether so long an answer fits this model.
    tokens_of(inputs, folder, settings.answer_tokens)
    if settings.engine == "hf" or settings.adapter is not None:
        # vLLM serves quantised weights, into which nothing can be merged.
        check_proxy(folder, settings.proxy)
    reads = {name: _read(settings, name) for name in settings.benchmarks}
    if settings.score == "letters":
        _check_letters(inputs, settings.plan, reads)
    run = RunDirectory(str(settings.output))
    run.prepare()
    with hold_lease(run, partial(say, console)), ray_session(), known_cause():
        if run.exists("conversations"):
            raise SettingsError(f"{run.url}: the output holds a selection; name another")
        state = RunState(run, fresh)
        model = checkpoint_digest(folder)
        asked_device = settings.device
        runtime = RuntimeSettings(workers=settings.workers, threads=settings.threads)
        resolved: Any = dict(zip(("device", "dtype"), resolve_device(settings.proxy), strict=True))
        settings = replace(settings, **resolved)
        basis = _basis(settings, model)
        _refuse_changes(run, state, basis)
        _check_nodes(run, settings, model)
        workers = plan_replicas(runtime, asked_device, settings.device, settings.tensor_parallel)
        if fresh:
            start_over(run)
        for part, problem in run.sweep():
            say(console, f"{run.url}/{part.path}: {problem}; what it held is made again.")
            run.drop(part)
        stage = state.start("answers", basis)
        # Those of another model, where the job was killed while it threw them away.
        run.discard("answers", keep=stage)
        write_config(run, settings)
        started = monotonic()
        examinations = _ask(run, settings, reads, model, stage, workers, console)
        results = _write_results(run, settings, reads, examinations, stage, console)
        state.finish("answers", monotonic() - started)
    print_results(results, console)
    say(console, f"Results: {run.url}/{RESULTS_MD}")
    empty = [result.benchmark for result in results if not result.metrics.questions]
    if empty:
        raise ArdsError(f"{', '.join(empty)}: no question could be evaluated; see {run.url}/{NOT_EVALUATED}")


def _with_absolute_paths(settings: EvaluationSettings) -> EvaluationSettings:
    for value, option in (
        (settings.benchmarks, "--benchmark"),
        (settings.model, "--model"),
        (settings.output, "--output"),
    ):
        if not value:
            raise SettingsError(f"{option}: not stated")
    images = {name: locate(path) for name, path in settings.images.items()}
    for folder in images.values():
        if folder.info().type != FileType.Directory:
            raise SettingsError(f"--images: {folder.url} is no folder")
    name, adapter = str(settings.model), settings.adapter
    return replace(
        settings,
        model=locate(name).url if locate(name).exists() else name,
        adapter=None if adapter is None else locate(adapter).url,
        benchmarks={name: locate(path).url for name, path in settings.benchmarks.items()},
        images={name: folder.url for name, folder in images.items()},
        output=locate(str(settings.output)).url,
    )


def _read(settings: EvaluationSettings, name: str) -> _Read:
    questions: list[Question] = []
    not_evaluated: list[NotEvaluated] = []
    for one in islice(read_questions(name, settings.benchmarks[name], settings.plan), settings.limit):
        if isinstance(one, NotEvaluated):
            not_evaluated.append(one)
        elif one.answer is not None and "clean" not in settings.attacks:
            raise SettingsError(f"{name} has free answers, which are asked under clean alone; add clean to --attacks")
        else:
            questions.append(one)
    folder = settings.images_of(name)
    sources = {source for question in questions for source in question.images}
    if folder is None and any(isinstance(source, FileImage) for source in sources):
        raise SettingsError(f"--images: {name} has image files; say where they are with --images {name}=DIR")
    stamps = image_stamps(sources, None if folder is None else locate(folder))
    return _Read(
        questions,
        not_evaluated,
        {one.id: json.dumps([(repr(source), stamps.get(source)) for source in one.images]) for one in questions},
    )


def _check_letters(inputs: ProxyInputs, plan: Plan, reads: Mapping[str, _Read]) -> None:
    """Before anything is asked: symbols that begin with the same token cannot be ranked."""
    most = max((len(question.options) for read in reads.values() for question in read.questions), default=0)
    for symbols in plan.symbol_sets:
        first_tokens(inputs, symbols[:most])


def _basis(settings: EvaluationSettings, model: str) -> dict[str, Any]:
    """What every answer depends on, beside its prompt and its images."""
    adapter = settings.adapter
    return {
        "version": VERSION,
        "model": model,
        "adapter": checkpoint_digest(adapter_folder(adapter)) if adapter else None,
        "device": settings.device,
        "dtype": settings.dtype,
        "engine": settings.engine,
        "score": settings.score,
        "answer_tokens": settings.answer_tokens,
    }


def _refuse_changes(run: RunDirectory, state: RunState, basis: Mapping[str, Any]) -> None:
    differences = state.differences("answers", basis)
    if differences and run.parts("answers"):
        raise RunChanged(
            f"{run.url}: its answers were made with another model or in another way:\n  "
            + "\n  ".join(differences)
            + "\nname another output, or throw them away with --fresh"
        )


def _check_nodes(run: RunDirectory, settings: EvaluationSettings, model: str) -> None:
    folders: list[str | None] = [*dict.fromkeys(settings.images.values())]
    for folder in folders or [None]:
        corpus = CorpusSettings(files=tuple(settings.benchmarks.values()), images=folder)
        check_nodes(run, Settings(corpus=corpus, proxy=settings.proxy), model)


def _ask(
    run: RunDirectory,
    settings: EvaluationSettings,
    reads: Mapping[str, _Read],
    model: str,
    stage: str,
    workers: Workers,
    console: Console,
) -> list[Examination]:
    with AnswerLog(run, stage, {name: read.stamps for name, read in reads.items()}) as log:
        known = log.known()
        count = sum(map(len, known.values()))
        if count:
            say(console, f"{count:,} answers are known and not asked again.")
        examinations = [
            Examination(
                name,
                benchmark_of(name).style,
                read.questions,
                settings.images_of(name),
                settings.plan,
                known[name],
                settings.links,
            )
            for name, read in reads.items()
        ]
        engine = EngineSettings(
            settings.engine,
            settings.proxy,
            settings.score,
            settings.answer_tokens,
            settings.batch_positions,
            settings.tensor_parallel,
            settings.threads,
        )
        with StageProgress(console, "asking", None, "requests") as progress:
            for answers in examine(examinations, workers, engine, model, log.add):
                progress.advance(answers)
    return examinations


def _write_results(
    run: RunDirectory,
    settings: EvaluationSettings,
    reads: Mapping[str, _Read],
    examinations: Sequence[Examination],
    stage: str,
    console: Console,
) -> list[Result]:
    started = monotonic()
    results = []
    rows = []
    for examination in examinations:
        answers = examination.answers()
        metrics = metrics_of(answers) if answers else NO_METRICS
        not_evaluated = [*reads[examination.benchmark].not_evaluated, *examination.failed()]
        results.append(Result(examination.benchmark, metrics, not_evaluated))
        rows += answers
    run.write_table(ANSWERS_FILE, to_table(rows), stage, started)
    lines = [
        json.dumps({"benchmark": result.benchmark, "question": one.id, "error": one.error}, ensure_ascii=False) + "\n"
        for result in results
        for one in result.not_evaluated
    ]
    run.write_bytes(NOT_EVALUATED, "".join(lines).encode("utf-8", "backslashreplace"))
    write_summary(run, results, _described(settings))
    return results


def _described(settings: EvaluationSettings) -> dict[str, Any]:
    """The settings that the numbers rest on, for people."""
    adapter = f" with the adapter {settings.adapter}" if settings.adapter else ""
    return {
        "model": f"{settings.model}{adapter}",
        "engine": f"{settings.engine}, {settings.dtype} on {settings.device}",
        "attacks": ", ".join(settings.attacks),
        "symbols of the symbol attack": " ".join(settings.symbols),
        "matching": settings.matching,
        "score": settings.score,
        "longest answer": f"{settings.answer_tokens} tokens",
        "seed": settings.seed,
    }
