"""The pool of proxy actors: it never takes so much that the tasks before it cannot run."""

from pathlib import Path

import pytest

from ards_ray.cluster.resources import Pool, _cpu_share, plan_workers
from ards_ray.config import RuntimeSettings
from ards_ray.errors import SettingsError

MIXTURE = "methods/ards/mixture.json"


def test_pool_leaves_a_cpu(local_ray: None) -> None:
    """The user's job would hang for ever: the actors hold all CPUs and the shards are never prepared."""
    assert plan_workers(RuntimeSettings(), "auto", "cpu") == Pool(1, cpus=1, gpus=0)
    assert plan_workers(RuntimeSettings(threads=4), "auto", "cpu") == Pool(1, cpus=1, gpus=0)


def test_more_actors_than_cpus_share_them(local_ray: None) -> None:
    """The user who asks for five workers on two CPUs would wait for ever."""
    assert plan_workers(RuntimeSettings(workers=5), "cpu", "cpu") == Pool(5, cpus=0.2, gpus=0)


def test_gpus_that_are_not_there_are_an_error(local_ray: None) -> None:
    """The user would wait for a GPU that never comes."""
    with pytest.raises(SettingsError, match="no GPU now"):
        plan_workers(RuntimeSettings(), "cuda", "cuda")


def test_stated_actors_wait_for_gpus_that_come(local_ray: None) -> None:
    """The user of a cluster that grows on demand could start no job while it is small."""
    assert plan_workers(RuntimeSettings(workers=3), "cuda", "cuda") == Pool(3, cpus=0, gpus=1)


@pytest.mark.parametrize(
    ("nodes", "count", "threads", "share"),
    [
        ([8], 7, 1, 1),
        ([8], 3, 2, 2),
        ([8], 8, 1, 0.875),
        ([2, 2], 3, 1, 1),
        ([1, 1], 1, 1, 1),
        ([1], 1, 1, 0),
        # Any share could leave less than one CPU on both nodes.
        ([2, 2], 2, 2, 0),
        ([1, 1], 5, 1, 0),
        # Fits no node.
        ([1, 1, 1], 1, 2, 0),
    ],
)
def test_a_whole_cpu_is_left_on_some_node(nodes: list[int], count: int, threads: int, share: float) -> None:
    """The user's job would hang on some clusters and not on others, as Ray happens to place the actors."""
    assert _cpu_share(nodes, count, threads) == share


def test_five_actors_on_two_cpus_finish_with_the_same_mixture(ray_job, finished: Path, tmp_path: Path) -> None:
    """The user would get a hang, or a training file that depends on the number of workers."""
    outcome = ray_job(tmp_path / "run", settings=["runtime.workers=5"])

    assert outcome.code == 0, outcome.text
    assert (tmp_path / "run" / MIXTURE).read_bytes() == (finished / MIXTURE).read_bytes()
