"""Selections in one process, by a plain loop: no Ray, every method."""

import subprocess
import sys
from pathlib import Path
from typing import Any

SELECT = """
import sys
sys.modules["ray"] = None  # An import of it fails.
from ards_ray import Settings, select
from ards_ray.config import CorpusSettings, ProxySettings, RuntimeSettings, SubgroupSettings, VectorSettings
from ards_ray.methods.like import LikeSettings
from ards_ray.methods.registry import METHODS
from ards_ray.signals.loop import loop_workers
corpus, images, model, output = sys.argv[1:]
methods = [name for name in METHODS if name != "like"] + ["like"]
settings = Settings(
    corpus=CorpusSettings(files=(corpus,), images=images),
    proxy=ProxySettings(model=model),
    subgroups=SubgroupSettings(per_format=2, members=3, candidates=6, versions="clean+corrupted"),
    vectors=VectorSettings(center=True),
    runtime=RuntimeSettings(shard_size=64),
    like=LikeSettings(f"{output}/ards"),
    methods=tuple(methods),
    output=output,
)
for worked in (True, False):
    selected = select(settings, open_workers=loop_workers)
    assert selected.worked == worked
    assert list(selected.methods) == methods
    for name, mixture in selected.methods.items():
        assert mixture.url == f"{output}/methods/{name}/mixture.json"
        assert mixture.summary["selected"] == (140 if name == "full" else 42)
"""


def test_every_method_selects_without_ray(demo_inputs: Any, tmp_path: Path) -> None:
    """In a notebook one would get a Ray that one does not want, or none where it cannot be installed."""
    named = [str(path) for path in (demo_inputs.corpus, demo_inputs.images, demo_inputs.model)]
    done = subprocess.run(
        [sys.executable, "-c", SELECT, *named, str(tmp_path / "loop")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
