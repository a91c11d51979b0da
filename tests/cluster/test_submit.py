"""The command of the README, `ray job submit --working-dir . -- python jobs/select.py`, on a Ray started as it says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_nodes import Nodes


@pytest.fixture(scope="module")
def head() -> Iterator[Nodes]:
    nodes = Nodes()
    try:
        nodes.start_head("--num-cpus=2", "--num-gpus=0")
        yield nodes
    finally:
        nodes.stop()


def test_submitted_job_selects_the_same_mixture(head: Nodes, finished: Path, tmp_path: Path) -> None:
    """The user would move a job from the own machine to a cluster and get another training file, or none."""
    done = head.submit("--config", finished / "config.yaml", "--output", tmp_path / "run")

    assert done.returncode == 0, done.stdout
    mixture = "methods/ards/mixture.json"
    assert (tmp_path / "run" / mixture).read_bytes() == (finished / mixture).read_bytes()


def test_working_folder_of_the_job_is_the_code_alone(head: Nodes, tmp_path: Path) -> None:
    """The user would upload environment, history and runs with every job: gigabytes, beyond what Ray takes."""
    done = head.submit("--print-config")

    assert done.returncode == 0, done.stdout
    assert "per_format: 10" in done.stdout
    packages = head.packages()
    assert packages
    for package in packages:
        assert {"ards_ray", "jobs"} <= {entry.name for entry in package.iterdir()}
        assert not {".venv", ".git", "runs"} & {entry.name for entry in package.iterdir()}
        assert sum(file.stat().st_size for file in package.rglob("*") if file.is_file()) < 50_000_000
