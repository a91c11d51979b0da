"""A generated corpus and a tiny random checkpoint, so that the job can be tried with nothing at hand."""

import os
import shutil
import uuid
from dataclasses import replace
from pathlib import Path

from ards_ray.config import Settings
from ards_ray.demo.checkpoint import write_checkpoint
from ards_ray.demo.corpus import write_corpus
from ards_ray.storage.location import locate

DEMO_OUTPUT = "runs/demo"


def with_demo(settings: Settings) -> Settings:
    """Settings without a corpus, completed to a demo: corpus and checkpoint are made beside the run directory."""
    output = settings.output or DEMO_OUTPUT
    location = locate(output)
    base = location.path if location.is_local else str(Path(DEMO_OUTPUT).absolute())
    folder = Path(f"{base}-input-{settings.seed}")
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        try:
            corpus, _ = write_corpus(unfinished, seed=settings.seed)
            write_checkpoint(unfinished / "checkpoint", corpus, seed=settings.seed)
            os.replace(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return replace(
        settings,
        corpus=replace(settings.corpus, files=(str(folder / "corpus.json"),), images=str(folder / "images")),
        proxy=replace(settings.proxy, model=settings.proxy.model or str(folder / "checkpoint")),
        output=output,
    )
