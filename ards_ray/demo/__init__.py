"""A generated corpus and a tiny random checkpoint, so that the job can be tried with nothing at hand."""

import os
import shutil
import uuid
from dataclasses import replace
from pathlib import Path

from ards_ray.config import Settings, SubgroupSettings
from ards_ray.demo.checkpoint import write_checkpoint
from ards_ray.demo.corpus import write_corpus
from ards_ray.storage import locate

DEMO_OUTPUT = "runs/demo"
# Small enough that members leave enough of every format for the mixture.
DEMO_PER_FORMAT = 2
DEMO_MEMBERS = 5


def with_demo(settings: Settings) -> Settings:
    """Settings without a corpus, completed to a demo: corpus and checkpoint are made beside the run directory."""
    output = settings.output or DEMO_OUTPUT
    location = locate(output)
    folder = Path(f"{location.path}-input") if location.is_local else Path(f"{DEMO_OUTPUT}-input").absolute()
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        try:
            corpus, _ = write_corpus(unfinished, seed=settings.seed)
            write_checkpoint(unfinished / "checkpoint", corpus, seed=settings.seed)
            os.replace(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    subgroups = settings.subgroups
    if subgroups.per_format == SubgroupSettings.per_format:
        subgroups = replace(subgroups, per_format=DEMO_PER_FORMAT)
    if subgroups.members == SubgroupSettings.members:
        subgroups = replace(subgroups, members=DEMO_MEMBERS)
    return replace(
        settings,
        corpus=replace(settings.corpus, files=(str(folder / "corpus.json"),), images=str(folder / "images")),
        proxy=replace(settings.proxy, model=settings.proxy.model or str(folder / "checkpoint")),
        subgroups=subgroups,
        output=output,
    )
