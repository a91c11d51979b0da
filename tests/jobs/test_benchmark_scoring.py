"""The benchmark of scoring: all three ways compute the same, and its ratios are those of its own figures."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ards_ray.benchmark.conversations import synthetic_conversations
from ards_ray.demo.checkpoint import write_checkpoint
from ards_ray.models.family import checkpoint_config

REPOSITORY = Path(__file__).parents[2]
COUNT = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scoring")
    corpus = folder / "corpus.json"
    corpus.write_text(json.dumps([{"conversations": [{"from": "human", "value": "Hello there, who are you?"}]}] * 9))
    write_checkpoint(folder / "model", corpus)
    return folder / "model"


def measure(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": "", "COLUMNS": "120"}
    command = [sys.executable, "jobs/benchmark.py", "scoring", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=1100)


@pytest.fixture(scope="module")
def figures(model: Path) -> dict[str, Any]:
    report = model.with_name("report.json")
    done = measure("--model", str(model), "--conversations", str(COUNT), "--json", str(report))
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert f"the engine is {found['engine_by_reference']:.2f} times as fast as the reference" in done.stdout
    return found


def test_all_three_compute_the_same(figures: dict[str, Any]) -> None:
    """A faster way to other numbers would be no gain."""
    for name in ("reference", "plain"):
        assert figures["largest_difference"][name]["loss"] <= 1e-5
        assert figures["largest_difference"][name]["vector"] <= 1e-5


def test_ratios_are_those_of_the_figures(figures: dict[str, Any]) -> None:
    """They are what the engine is judged by."""
    engine = figures["engine"]
    for name in ("reference", "plain", "engine"):
        item = figures[name]
        assert item["conversations_per_second"] == pytest.approx(COUNT / item["seconds"])
        assert item["peak_memory_bytes"] > 1 << 20
    for name in ("reference", "plain"):
        ratio = engine["conversations_per_second"] / figures[name]["conversations_per_second"]
        assert figures[f"engine_by_{name}"] == pytest.approx(ratio)
    assert engine["utilisation"] == pytest.approx(engine["flops_per_second"] / figures["matrix_flops_per_second"])
    assert figures["corpus_hours"] == pytest.approx(665_298 / engine["conversations_per_second"] / 3600)


def test_positions_are_those_of_the_conversations(model: Path, figures: dict[str, Any]) -> None:
    """They tell how much is saved on any machine."""
    config = checkpoint_config(model)
    token = config["image_token_index"]
    conversations = list(synthetic_conversations(COUNT, token, token, 16))
    versions = [item for pair in conversations for item in (pair.clean, pair.corrupted) if item is not None]
    beginnings = {
        tuple((int(token_), item.image if token_ == token else -1) for token_ in item.ids[: end + 1])
        for item in versions
        for end in range(len(item))
    }
    assert figures["reference"]["positions"] == sum(map(len, versions)) + sum(len(pair.clean) for pair in conversations)
    assert figures["plain"]["positions"] >= sum(map(len, versions))
    # A second batch computes the system sentence again.
    assert len(beginnings) <= figures["engine"]["positions"] <= len(beginnings) + 200


def test_the_corpus_has_llavas_shape() -> None:
    """The ratios hold for such a corpus: more conversations for each picture would flatter them."""
    conversations = list(synthetic_conversations(2000, 1000, 1000, 576))
    shown = [pair for pair in conversations if pair.clean.image >= 0]
    assert len(shown) == round(2000 * 624_610 / 665_298)
    assert len(shown) / len({pair.clean.image for pair in shown}) == pytest.approx(1.65, rel=0.01)
    choice = [pair for pair in shown if pair.corrupted is not None and pair.corrupted.image == pair.clean.image]
    assert len(choice) == 200
    own = [len(pair.clean) - 611 for pair in shown]
    assert sum(own) / len(own) == pytest.approx(190, rel=0.06)


def test_a_device_that_is_not_there() -> None:
    """Said before a model is made, in a line."""
    refused = measure("--device", "cuda")
    assert refused.returncode == 2
    assert "PyTorch sees no GPU here" in refused.stderr
