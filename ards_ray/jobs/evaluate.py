"""The evaluation job: from settings to results."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any

import pyarrow as pa
from pyarrow.fs import FileType
from rich.console import Console

from ards_ray.console import say
from ards_ray.errors import RunChanged, SettingsError
from ards_ray.evaluation.answers import to_table
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.benchmarks.registry import benchmark_of, read_questions
from ards_ray.evaluation.engine import first_tokens, tokens_of
from ards_ray.evaluation.images import FileImage, image_stamps
from ards_ray.evaluation.log import AnswerLog
from ards_ray.evaluation.metrics import NO_METRICS, metrics_of
from ards_ray.evaluation.question import NotEvaluated, Question
from ards_ray.evaluation.queue import Examination, QuestionQueue
from ards_ray.evaluation.settings import EvaluationSettings, check_evaluation
from ards_ray.evaluation.workers import OpenWorkers, Say, Workers
from ards_ray.models.checkpoint import adapter_folder, checkpoint_digest, checkpoint_folder
from ards_ray.models.family import ProxyInputs, load_inputs
from ards_ray.models.loading import check_proxy
from ards_ray.report.evaluation import ANSWERS_FILE, NOT_EVALUATED, Evaluated, Result, summary_files
from ards_ray.run.config import write_config
from ards_ray.run.directory import RunDirectory
from ards_ray.run.fingerprint import fingerprint
from ards_ray.run.opening import OpenRun, open_run
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


def evaluate(
    settings: EvaluationSettings,
    console: Console | None = None,
    fresh: bool = False,
    open_workers: OpenWorkers | None = None,
) -> Evaluated:
    """Evaluate a model: ask what is not answered yet, and write the results.

    Args:
        settings: The settings; model, benchmarks and output are stated.
        console: Where progress goes; nowhere if not given.
        fresh: Throw away what an earlier evaluation left in the output.
        open_workers: Who asks the model; a Ray cluster if not given.

    Raises:
        SettingsError: a setting or an input file is wrong.
        ArdsError: the job could not be finished.
    """
    console = console or Console(quiet=True)
    stated = settings
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
    tell = partial(say, console)
    with (
        open_run(str(settings.output), "evaluation", fresh, tell) as opened,
        (open_workers or _ray())(stated, tell) as workers,
    ):
        run, state = opened.directory, opened.state
        if fresh:
            # As if it had none; its files are thrown away when all is checked.
            state.stages.clear()
        model = checkpoint_digest(folder)
        settings = _resolved(settings, opened, workers)
        basis = _basis(settings, model)
        _refuse_changes(run, state, basis)
        workers.check(run, settings, model)
        if fresh:
            start_over(run)
        stage = fingerprint(basis)
        started = monotonic()
        with AnswerLog(run, stage, {name: read.stamps for name, read in reads.items()}) as log:
            queue = _queue(settings, reads, log, tell)
            worked = queue.is_waiting() or not state.is_done("answers", basis)
            if worked:
                state.start("answers", basis)
                # Those of another model, where the job was killed while it threw them away.
                run.discard("answers", keep=stage)
            write_config(run, settings)
            if queue.is_waiting():
                with StageProgress(console, "asking", None, "requests") as progress:
                    for answers in workers.ask(queue, settings, model):
                        progress.advance(answers)
        results = [_result(examination, reads[examination.benchmark]) for examination in queue.examinations]
        table = to_table([row for examination in queue.examinations for row in examination.answers()])
        files = {NOT_EVALUATED: _not_evaluated(results), **summary_files(results, _described(settings))}
        if not worked and not _is_written(run, table, files):
            worked = True
            state.start("answers", basis)
        if worked:
            run.write_table(ANSWERS_FILE, table, stage, started)
            for name, content in files.items():
                run.write_bytes(name, content)
            state.finish("answers", monotonic() - started)
    return Evaluated(run.url, results, worked)


def _ray() -> OpenWorkers:
    # Imported late: a plain loop needs no Ray.
    from ards_ray.cluster.replicas import ray_replicas

    return ray_replicas


def _resolved(settings: EvaluationSettings, opened: OpenRun, workers: Workers) -> EvaluationSettings:
    """Device and dtype for `auto`: those of the answers that the run has, else those of the workers."""
    before = opened.state.stages.get("answers") if opened.directory.parts("answers") else None
    device, dtype = (before.inputs["device"], before.inputs["dtype"]) if before else workers.device()
    resolved: Any = {
        "device": device if settings.device == "auto" else settings.device,
        "dtype": dtype if settings.dtype == "auto" else settings.dtype,
    }
    return replace(settings, **resolved)


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


def _queue(settings: EvaluationSettings, reads: Mapping[str, _Read], log: AnswerLog, say: Say) -> QuestionQueue:
    known = log.known()
    count = sum(map(len, known.values()))
    if count:
        say(f"{count:,} answers are known and not asked again.")
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
    return QuestionQueue(examinations, log.add)


def _result(examination: Examination, read: _Read) -> Result:
    answers = examination.answers()
    metrics = metrics_of(answers) if answers else NO_METRICS
    return Result(examination.benchmark, metrics, [*read.not_evaluated, *examination.failed()])


def _not_evaluated(results: Sequence[Result]) -> bytes:
    """The content of not_evaluated.jsonl."""
    lines = [
        json.dumps({"benchmark": result.benchmark, "question": one.id, "error": one.error}, ensure_ascii=False) + "\n"
        for result in results
        for one in result.not_evaluated
    ]
    return "".join(lines).encode("utf-8", "backslashreplace")


def _is_written(run: RunDirectory, answers: pa.Table, files: Mapping[str, bytes]) -> bool:
    """Whether the run has these results, and not those of other columns, questions or another matcher."""
    return (
        all(run.exists(name) and run.read_bytes(name) == content for name, content in files.items())
        and run.exists(ANSWERS_FILE)
        and run.read_table(ANSWERS_FILE).equals(answers)
    )


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
