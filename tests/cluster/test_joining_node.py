"""A node that joins while shards are made ready, and does not see the image folder."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from drivers import SITE, Fault, wait_for
from ray_nodes import SECOND_ADDRESS, Nodes


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Nodes]:
    """A node whose only CPU waits for ever in the first shard that it makes ready."""
    (tmp_path / "faults.json").write_text(json.dumps([asdict(Fault("preparing", "row", "wait"))]))
    nodes = Nodes()
    paths = [str(SITE), *filter(None, [nodes.environment.get("PYTHONPATH")])]
    nodes.environment |= {"PYTHONPATH": ":".join(paths), "FAULTS_FILE": str(tmp_path / "faults.json")}
    try:
        nodes.start_head("--num-cpus=1", "--num-gpus=1")
        yield nodes
    finally:
        nodes.stop()


def test_a_node_that_joins_without_the_images_ends_the_job(
    head: Nodes, finished: Path, demo_inputs: Any, tmp_path: Path
) -> None:
    """Each conversation that it made ready would fail with `image not found`, and up to a twentieth of the corpus be
    missing from the mixture of a job that ended well."""
    options = ("--config", finished / "config.yaml", "--set", "proxy.device=auto", "--set", "runtime.workers=auto")
    with ThreadPoolExecutor(1) as pool:
        submitted = pool.submit(head.submit, *options, "--output", tmp_path / "run")
        wait_for((tmp_path / "faults.json.0.0").exists, "the first shard")
        head.start_second("--num-cpus=1", hidden=demo_inputs.images)
        done = submitted.result()

    assert "exit code 1" in done.stdout, done.stdout
    assert f"node {SECOND_ADDRESS} (" in done.stdout
    assert f"the image folder {demo_inputs.images} lacks " in done.stdout
    assert "run the same command again" in done.stdout
    assert not list((tmp_path / "run" / "signals").rglob("*.parquet"))
