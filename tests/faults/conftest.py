"""A cluster of its own, whose processes faults can be planned for, and an undisturbed run to compare with."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drivers import SITE, Driver, Drivers

SETTINGS = ("subgroups.per_format=2", "subgroups.members=3", "runtime.shard_size=16", "runtime.workers=1")


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    from ray.cluster_utils import Cluster

    folder = tmp_path_factory.mktemp("drivers")
    kept = dict(os.environ)
    os.environ["PYTHONPATH"] = str(SITE)
    os.environ["FAULTS_FILE"] = str(folder / "faults.json")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield Drivers(cluster.address, folder)
    cluster.shutdown()
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(autouse=True)
def no_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test begins and ends without."""
    if "drivers" in request.fixturenames:
        request.getfixturevalue("drivers").plan()
    yield
    if "drivers" in request.fixturenames:
        request.getfixturevalue("drivers").plan()


@pytest.fixture(scope="session")
def select(drivers: Drivers, demo_inputs: Any) -> Callable[..., Driver]:
    """Starts the command on the demo's inputs, unless others are named, with small shards."""

    def start(output: object, *arguments: object, **environment: str) -> Driver:
        named = set(map(str, arguments))
        inputs = {"--corpus": demo_inputs.corpus, "--images": demo_inputs.images, "--model": demo_inputs.model}
        options = [part for name, value in inputs.items() if name not in named for part in (name, value)]
        assigned = [part for setting in SETTINGS for part in ("--set", setting)]
        return drivers.start("select", "--output", output, *options, *assigned, *arguments, **environment)

    return start


@pytest.fixture(scope="session")
def undisturbed(select: Callable[..., Driver], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to; to be copied, not changed."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    driver = select(run)
    assert driver.wait() == 0, driver.text
    return run


@pytest.fixture
def copied(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the undisturbed run, to do what one likes with."""
    return Path(shutil.copytree(undisturbed, tmp_path / "run"))
