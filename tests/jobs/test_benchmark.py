"""The benchmark measures what users are promised: were it broken, a slow or greedy release would go unnoticed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmark") / "run"


def measure(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "jobs/benchmark.py", "selection", "--output", str(output), *arguments]
    environment = {**os.environ, "PYTHONPATH": "", "COLUMNS": "120"}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=1100)


@pytest.fixture(scope="module")
def finished(output: Path) -> subprocess.CompletedProcess[str]:
    report = output.with_name("report.json")
    return measure(output, "--rows", "2000", "--dim", "64", "--json", str(report))


@pytest.fixture(scope="module")
def figures(output: Path, finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert finished.returncode == 0, finished.stderr
    return json.loads(output.with_name("report.json").read_text())


def test_ratio_is_that_of_the_stages_to_reading(figures: dict[str, Any]) -> None:
    """The ratio is what a release is judged by, so it must be of the very figures beside it."""
    assert figures["rows"] == 2000
    assert figures["dim"] == 64
    assert figures["parts"] == 8
    assert figures["bytes"] > 2000 * 64 * 2
    assert figures["ratio"] == pytest.approx(figures["stages_seconds"] / figures["read_seconds"])
    assert figures["cpu_ratio"] == pytest.approx(figures["stages_cpu_seconds"] / figures["read_cpu_seconds"])
    read = figures["reads"][figures["read_by"]]
    assert figures["read_seconds"] == pytest.approx(sum(read["seconds"]) / 2)
    assert figures["read_seconds"] <= min(sum(other["seconds"]) / 2 for other in figures["reads"].values()) + 1e-9


def test_every_stage_is_timed(figures: dict[str, Any]) -> None:
    """A stage left out would flatter the ratio."""
    assert list(figures["stages"]) == ["clusters", "subgroups", "scores", "mixture"]
    assert all(seconds > 0 for seconds in figures["stages"].values())
    assert sum(figures["stages"].values()) <= figures["stages_seconds"] + 0.1


def test_peak_memory_is_that_of_the_largest_process(figures: dict[str, Any]) -> None:
    """Workers do the work: without them in the figure the memory limit would be checked on an idle process."""
    assert {"driver", "worker"} <= set(figures["peaks"])
    assert figures["peak_bytes"] == max(figures["peaks"].values())
    assert min(figures["peaks"].values()) > 1 << 20


def test_figures_are_printed(figures: dict[str, Any], finished: subprocess.CompletedProcess[str]) -> None:
    assert f"the stages take {figures['ratio']:.2f} times the time of reading" in finished.stdout
    assert f"Peak memory of a process: {figures['peak_bytes'] / (1 << 30):.2f} GiB" in finished.stdout


def test_measured_stages_made_a_mixture(figures: dict[str, Any], output: Path) -> None:
    """The figures stand for a whole selection, not for stages that found nothing to do."""
    summary = json.loads((output / "methods/ards/summary.json").read_text())
    assert summary["scored"] == 2000
    # So small a corpus has most of its conversations among the members, which are no candidates.
    assert summary["selected"] == min(600, 2000 - summary["members"])
    assert summary["selected"] == len(json.loads((output / "methods/ards/mixture.json").read_text()))
    assert len(summary["subgroups"]) > 30


def test_signals_of_another_size_are_kept(figures: dict[str, Any], output: Path) -> None:
    """An output that is named by mistake must not lose its signals."""
    signals = sorted((output / "signals").rglob("*.parquet"))
    refused = measure(output, "--rows", "1000", "--dim", "64")
    assert refused.returncode == 2
    assert "name another output" in refused.stderr
    assert sorted((output / "signals").rglob("*.parquet")) == signals
