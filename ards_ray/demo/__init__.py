"""Generated inputs and tiny models, so that the jobs can be tried with nothing at hand."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from transformers.utils import logging as transformers_logging

from ards_ray.config import Settings
from ards_ray.demo.answering import train_model, write_benchmark
from ards_ray.demo.checkpoint import write_checkpoint
from ards_ray.demo.corpus import write_corpus
from ards_ray.evaluation.settings import EvaluationSettings
from ards_ray.storage.location import locate

DEMO_OUTPUT = "runs/demo"
DEMO_EVALUATION = "runs/demo-evaluation"


def with_demo(settings: Settings) -> Settings:
    """Settings without a corpus, completed to a demo: corpus and checkpoint are made beside the run directory."""
    output = settings.output or DEMO_OUTPUT

    def write(folder: Path) -> None:
        corpus, _ = write_corpus(folder, seed=settings.seed)
        write_checkpoint(folder / "checkpoint", corpus, seed=settings.seed)

    folder = _inputs(output, DEMO_OUTPUT, settings.seed, write)
    return replace(
        settings,
        corpus=replace(settings.corpus, files=(str(folder / "corpus.json"),), images=str(folder / "images")),
        proxy=replace(settings.proxy, model=settings.proxy.model or str(folder / "checkpoint")),
        output=output,
    )


def with_demo_benchmark(settings: EvaluationSettings, say: Callable[[str], None]) -> EvaluationSettings:
    """Settings without a benchmark, completed to a demo: benchmark and model are made beside the output.

    Args:
        settings: The settings.
        say: Told why it takes a minute.
    """
    output = settings.output or DEMO_EVALUATION
    seed = settings.seed

    def write(folder: Path) -> None:
        say("Training a tiny model that answers: a minute or two, once.")
        write_benchmark(folder, seed=seed)
        train_model(folder / "model", seed=seed)

    folder = _inputs(output, DEMO_EVALUATION, seed, write)
    return replace(
        settings,
        model=str(folder / "model"),
        benchmarks={"plain": str(folder / "benchmark.json")},
        images={"plain": str(folder / "images")},
        output=output,
    )


def _inputs(output: str, default: str, seed: int, write: Callable[[Path], None]) -> Path:
    """The folder of a demo's inputs, which `write` makes unless they are there from before."""
    location = locate(output)
    base = location.path if location.is_local else str(Path(default).absolute())
    folder = Path(f"{base}-input-{seed}")
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        try:
            with _without_progress_bars():
                write(unfinished)
            os.replace(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """No bars of transformers for a checkpoint that is written in a moment."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
