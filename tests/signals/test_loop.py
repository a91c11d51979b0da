"""The whole selection in one process, by a plain loop: no Ray, the same mixture."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SELECT = """
import sys
sys.modules["ray"] = None  # An import of it fails.
from ards_ray import select
from ards_ray.config import *
from ards_ray.signals.loop import loop_workers
corpus, images, model, output = sys.argv[1:]
settings = Settings(
    corpus=CorpusSettings(files=(corpus,), images=images),
    proxy=ProxySettings(model=model),
    subgroups=SubgroupSettings(per_format=2, members=3, versions="clean+corrupted"),
    vectors=VectorSettings(center=True),
    runtime=RuntimeSettings(shard_size=64),
    output=output,
)
for worked in (True, False):
    selected = select(settings, open_workers=loop_workers)
    assert selected.worked == worked
    mixture = selected.methods["ards"]
    assert mixture.url == f"{output}/methods/ards/mixture.json"
    assert mixture.summary["selected"] == int(0.3 * mixture.summary["conversations"])
"""


@pytest.mark.timeout(600)
def test_a_loop_selects_the_same_mixture_without_ray(demo_inputs: Any, select: Any, tmp_path: Path) -> None:
    """In a notebook one would get another mixture than on the cluster, or a Ray that one does not want."""
    named = [str(path) for path in (demo_inputs.corpus, demo_inputs.images, demo_inputs.model)]
    done = subprocess.run(
        [sys.executable, "-c", SELECT, *named, str(tmp_path / "loop")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    settings = ("subgroups.versions=clean+corrupted", "vectors.center=true")
    assert select(tmp_path / "ray", *(part for one in settings for part in ("--set", one))) == 0
    loop, ray = (tmp_path / name / "methods" / "ards" for name in ("loop", "ray"))
    assert (loop / "mixture.json").read_bytes() == (ray / "mixture.json").read_bytes()
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (loop, ray)]
    assert summaries[0]["subgroups"] == summaries[1]["subgroups"]
