"""A cluster of its own, whose processes faults can be planned for, and an undisturbed run to compare with."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from drivers import SIGNAL_TABLES, SITE, Driver, Drivers
from tables import read_table

SETTINGS = ("subgroups.per_format=1", "subgroups.members=3", "runtime.shard_size=4", "runtime.workers=1")
METHODS = "ards,random"
CONVERSATIONS = 48
BUCKET = "bucket"
COMPARED = ("conversations", *SIGNAL_TABLES, "methods/ards/clusters", "methods/ards/scores", "methods/ards/ranking")


@pytest.fixture(scope="session")
def small(make_inputs: Callable[[int], Any]) -> Any:
    """A corpus of twelve shards or so, and a tiny random LLaVA."""
    return make_inputs(CONVERSATIONS)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """An S3 server on this machine, as the environment names it; gives the URL of its bucket."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    fs.S3FileSystem(allow_bucket_creation=True, endpoint_override=f"http://{host}:{port}").create_dir(BUCKET)
    yield f"s3://{BUCKET}"
    server.stop()


@pytest.fixture(scope="session")
def cluster(s3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Ray of two CPUs whose processes look at the planned faults; nodes can join it and leave it."""
    from ray.cluster_utils import Cluster

    kept = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SITE), os.environ.get("PYTHONPATH"))))
    os.environ["FAULTS_FILE"] = str(tmp_path_factory.mktemp("faults") / "faults.json")
    # A node that is lost is known to be so within seconds, not half a minute.
    health = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 6}
    head = {"num_cpus": 2, "include_dashboard": False, "_system_config": health}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(scope="session")
def all_drivers(cluster: Any) -> Drivers:
    return Drivers(cluster.address, Path(os.environ["FAULTS_FILE"]).parent)


@pytest.fixture
def drivers(all_drivers: Drivers) -> Iterator[Drivers]:
    """Each test begins and ends without faults."""
    all_drivers.plan()
    yield all_drivers
    all_drivers.plan()


@pytest.fixture(scope="session")
def select(all_drivers: Drivers, small: Any) -> Callable[..., Driver]:
    """Starts the command on the small corpus, unless other inputs are named, with small shards and two methods."""

    def start(output: object, *arguments: object) -> Driver:
        named = set(map(str, arguments))
        inputs = {"--corpus": small.corpus, "--images": small.images, "--model": small.model, "--method": METHODS}
        options = [part for name, value in inputs.items() if name not in named for part in (name, value)]
        assigned = [part for setting in SETTINGS for part in ("--set", setting)]
        command = ("select", "--output", output, *options, *assigned, *arguments)
        return all_drivers.start(*command)

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


@pytest.fixture
def assert_same(undisturbed: Path, note: Callable[[str, int, int, str], None]) -> Callable[..., None]:
    """Asserts that a run is sound and came to what the undisturbed one, or another, came to.

    Notes it for the closing table.
    """

    def check(run: Path, fault: str, tries: int, redone: str, other: Path = undisturbed) -> None:
        for mixture in other.glob("methods/*/mixture.json"):
            assert (run / mixture.relative_to(other)).read_bytes() == mixture.read_bytes(), mixture
        for table in COMPARED:
            found, wanted = read_table(run, table), read_table(other, table)
            for column in wanted.column_names:
                # The corpus may have been read from elsewhere.
                assert column == "source" or found[column].equals(wanted[column]), (table, column)
        assert problems(run) == ""
        lost = read_table(other, "signals/clean").num_rows - read_table(run, "signals/clean").num_rows
        note(fault, tries, lost, redone)

    return check


def problems(run: object) -> str:
    """What `ards-ray verify` finds, nothing where the run is sound."""
    from ards_ray.cli import main

    printed = StringIO()
    with redirect_stdout(printed):
        code = main(["verify", str(run)])
    return "" if code == 0 else printed.getvalue()


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Callable[[str, int, int, str], None]:
    """Adds a line to the closing table: a fault, how often it happened, what was lost, what was redone."""
    return lambda *line: record_property("fault", line)


@pytest.fixture(scope="session")
def verify() -> Callable[[object], str]:
    return problems
