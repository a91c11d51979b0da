"""The benchmark of large runs: were it wrong, a release could read every part at every start, and nobody would know."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
TABLES = 5
OPENED = ("open", "resume", "verify, manifest")


def measure(output: Path, conversations: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "jobs/benchmark.py", "run", "--output", str(output), *arguments]
    command += ["--conversations", str(conversations)]
    environment = {**os.environ, "PYTHONPATH": "", "COLUMNS": "120"}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmark") / "run"


@pytest.fixture(scope="module")
def figures(output: Path) -> dict[str, Any]:
    report = output.with_name("report.json")
    done = measure(output, 6000, "--s3", "--json", str(report))
    assert done.returncode == 0, done.stderr
    assert "6,000 conversations in 120 parts of 5 tables." in done.stdout
    return json.loads(report.read_text())


@pytest.mark.parametrize("store", ["local", "s3"])
def test_objects_are_those_of_the_tables(figures: dict[str, Any], store: str) -> None:
    """What is read for each of 24 shards would be read for each of 40,000."""
    found = figures["stores"][store]
    for name in OPENED:
        # run.json, and what is gathered of each table.
        assert found[name]["objects read"] == 1 + TABLES
        assert found[name]["looks"] < 24
        assert 0 < found[name]["pages listed"] < 48
        assert found[name]["seconds"] > 0


def test_files_are_read_to_be_verified(figures: dict[str, Any]) -> None:
    """Counted by the same file system: it would see a part that is read."""
    assert figures["parts"] == 24 * TABLES
    assert figures["stores"]["local"]["verify, every file"]["objects read"] == figures["parts"] + TABLES


def test_a_run_is_used_again(figures: dict[str, Any], output: Path) -> None:
    """Making a large one takes minutes."""
    times = {file: file.stat().st_mtime_ns for file in output.rglob("*.parquet")}
    done = measure(output, 6000)
    assert done.returncode == 0, done.stderr
    assert {file: file.stat().st_mtime_ns for file in output.rglob("*.parquet")} == times
    done = measure(output, 7000)
    assert done.returncode == 2
    assert "conversations: 7000, was 6000" in done.stderr
