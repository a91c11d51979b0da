"""The evaluation that anyone runs first."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers.utils import logging as transformers_logging

from ards_ray import demo
from ards_ray.evaluation.settings import EvaluationSettings

ROOT = Path(__file__).resolve().parents[2]
# Tables begin with a space.
OURS = re.compile(r"( .*|(asking|Results): .*)?")


def test_the_demo_needs_nothing(answering: Any, tmp_path: Path) -> None:
    """`python jobs/evaluate.py`, nothing else: whoever's first try fails does not try again."""
    # What the demo makes on the first call, so that it is not trained for every test.
    shutil.copytree(answering.model.parent, tmp_path / "runs" / "demo-evaluation-input-42")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    script = [sys.executable, str(ROOT / "jobs" / "evaluate.py")]
    ended = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1100)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    assert [line for line in ended.stdout.splitlines() if not OURS.fullmatch(line)] == []
    for word in ("Clean", "SA+PA", "saved", f"Results: {tmp_path}/runs/demo-evaluation/results.md\n"):
        assert word in ended.stdout
    found = json.loads((tmp_path / "runs" / "demo-evaluation" / "results.json").read_text())["plain"]
    assert found["clean"] >= 90
    assert found["permutation"] <= found["clean"] - 20
    assert found["symbol"] >= 80
    assert found["questions"] == 60


def test_the_demo_makes_its_inputs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The minute of training is spent on the first call alone, and a broken one leaves nothing that is taken for it."""
    transformers_logging.enable_progress_bar()
    trained = []

    def train(folder: Path, seed: int) -> None:
        trained.append(seed)
        assert not transformers_logging.is_progress_bar_enabled()
        folder.mkdir()
        if len(trained) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(demo, "train_model", train)
    settings = EvaluationSettings(output=str(tmp_path / "out"))
    with pytest.raises(KeyboardInterrupt):
        demo.with_demo_benchmark(settings, print)
    first = demo.with_demo_benchmark(settings, print)
    assert demo.with_demo_benchmark(settings, print) == first
    assert trained == [42, 42]
    assert transformers_logging.is_progress_bar_enabled()
    assert first.model == str(tmp_path / "out-input-42" / "model")
    assert Path(first.benchmarks["plain"]).is_file()
    assert len(list(Path(first.images["plain"]).iterdir())) == 60
