"""Two nodes with a logical GPU each, the second with a folder that is not the first one's."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ray_nodes import SECOND_ADDRESS, Nodes

from ards_ray.demo.corpus import write_corpus

NODE = ("--num-cpus=1", "--num-gpus=1")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that each node has for itself."""
    return tmp_path_factory.mktemp("local")


@pytest.fixture(scope="module")
def two_nodes(local: Path) -> Iterator[Nodes]:
    nodes = Nodes()
    try:
        nodes.start_head(*NODE)
        nodes.start_second(*NODE, hidden=local)
        yield nodes
    finally:
        nodes.stop()


@pytest.fixture(scope="module")
def options(finished: Path) -> tuple[object, ...]:
    """The finished run's settings, but device and workers those of the cluster."""
    return ("--config", finished / "config.yaml", "--set", "proxy.device=auto", "--set", "runtime.workers=auto")


def test_one_actor_on_each_gpu_and_the_same_mixture(
    two_nodes: Nodes, options: tuple[object, ...], finished: Path, tmp_path: Path
) -> None:
    """The user would pay for nodes that idle, or get a training file that depends on their number."""
    done = two_nodes.submit(*options, "--output", tmp_path / "run")

    assert done.returncode == 0, done.stdout
    mixture = "methods/ards/mixture.json"
    assert (tmp_path / "run" / mixture).read_bytes() == (finished / mixture).read_bytes()
    assert_one_on_each(two_nodes.actors("ProxyActor"))


def assert_one_on_each(actors: Sequence[Mapping[str, Any]]) -> None:
    assert [actor["required_resources"] for actor in actors] == [{"GPU": 1.0}, {"GPU": 1.0}]
    places = [actor["death_cause"]["actor_died_error_context"]["node_ip_address"] for actor in actors]
    assert len(set(places)) == 2
    assert SECOND_ADDRESS in places


def test_one_replica_on_each_gpu_and_the_same_answers(
    two_nodes: Nodes, arguments: list[object], evaluated: Path, tmp_path: Path
) -> None:
    """A table that depends on the number of machines is none; and a GPU that idles is paid for."""
    done = two_nodes.submit(*arguments, "--output", tmp_path / "run", script="evaluate.py")

    assert done.returncode == 0, done.stdout
    for name in ("results.json", "answers.parquet"):
        assert (tmp_path / "run" / name).read_bytes() == (evaluated / name).read_bytes()
    assert_one_on_each(two_nodes.actors("Replica"))


def test_gpus_that_share_a_replica_are_on_one_node(two_nodes: Nodes, arguments: list[object], tmp_path: Path) -> None:
    """Two GPUs in all, one on each node: the job would wait for ever for a place with two."""
    options = ("--engine", "vllm", "--tensor-parallel", 2, "--output", tmp_path / "run")
    done = two_nodes.submit(*arguments, *options, script="evaluate.py")

    assert "exit code 2" in done.stdout, done.stdout
    assert "--tensor-parallel: 2 GPUs for a replica, and no node has as many" in done.stdout


def test_folders_of_one_node_alone_are_refused_before_scoring(
    two_nodes: Nodes, options: tuple[object, ...], demo_inputs, local: Path
) -> None:
    """The user would wait for hours of scoring and find half of the parts on the disks of nodes that are gone."""
    corpus, images = write_corpus(local, conversations=40)
    shutil.copytree(demo_inputs.model, local / "proxy")

    inputs = ("--corpus", corpus, "--images", images, "--model", local / "proxy")
    done = two_nodes.submit(*options, *inputs, "--output", local / "run")

    assert "exit code 2" in done.stdout, done.stdout
    assert f"node {SECOND_ADDRESS}" in done.stdout
    assert f"the output folder {local}/run is another one here" in done.stdout
    assert f"the image folder {images} is missing" in done.stdout
    assert f"{local}/proxy: no such folder" in done.stdout
    assert not (local / "run" / "signals").exists()
