"""A broken cluster.yaml shows itself minutes after `ray up`, on machines that are paid for.

So it goes here through Ray's own preparation and schema, up to the point where `ray up` would ask AWS;
what only AWS knows (images, instance types, quotas) is not covered.
"""

import copy
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parent.parent
NODE_HOME = "~/ards_ray/"  # where the launcher puts the repository's files on a node

Config = dict[str, Any]


@pytest.fixture(scope="module")
def written() -> Config:
    config: Config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return config


@pytest.fixture(scope="module")
def prepared(written: Config) -> Config:
    """The file after what `ray up` does to it before it contacts the cloud: defaults, merged commands, limits."""
    config: Config = prepare_config(copy.deepcopy(written))
    return config


def commands(config: Config) -> list[str]:
    """Every shell command that a node will run, in order."""
    keys = ("initialization", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    return [command for key in keys for command in config[f"{key}_commands"]]


def test_ray_accepts_the_file(prepared: Config) -> None:
    """Otherwise `ray up` stops with a schema error."""
    validate_config(prepared)


def test_ray_rejects_a_misspelt_key(prepared: Config) -> None:
    """Otherwise the test above would pass whatever the file says."""
    with pytest.raises(jsonschema.ValidationError):
        validate_config({**prepared, "max_worker": 8})


def test_nothing_is_left_to_fill_in(written: Config) -> None:
    """Otherwise the file must be edited before it starts: everything that Ray does not find out by itself is set."""
    assert written["provider"]["type"] == "aws"
    assert re.fullmatch(r"[a-z]{2}-[a-z]+-\d", written["provider"]["region"])
    assert written["auth"]["ssh_user"]
    for node_type in written["available_node_types"].values():
        node = node_type["node_config"]
        assert node["InstanceType"]
        assert node["ImageId"].startswith("resolve:ssm:/aws/service/"), "an image id holds in one region only"
    assert not re.search(r"<[^>]+>|TODO|FIXME|CHANGE.?ME|my-bucket", (ROOT / "cluster.yaml").read_text())


def test_gpu_actors_get_a_machine_and_never_the_head(prepared: Config) -> None:
    """Otherwise the GPU stage waits for ever, or a GPU machine is paid for as long as the cluster lives."""
    types = dict(prepared["available_node_types"])
    head = types.pop(prepared["head_node_type"])
    assert head["resources"].get("GPU", 0) == 0
    assert head["resources"]["CPU"] > 0, "the corpus stage and the driver run before any worker exists"
    assert not re.match(r"(g|p)\d|trn|inf", head["node_config"]["InstanceType"])
    assert head["max_workers"] == 0

    assert types
    for name, node_type in types.items():
        assert node_type["resources"]["GPU"] >= 1, name
        # An actor needs CPUs next to its GPU, and so do the tasks that feed it.
        assert node_type["resources"]["CPU"] >= 2 * node_type["resources"]["GPU"], name
        assert 0 <= node_type["min_workers"] <= node_type["max_workers"] <= prepared["max_workers"], name
        assert node_type["max_workers"] >= 1, name


def test_workers_reach_s3_and_hold_the_model(prepared: Config) -> None:
    """Otherwise the first GPU actor fails on its first read: Ray's default role is given to the head alone."""
    types = dict(prepared["available_node_types"])
    head = types.pop(prepared["head_node_type"])
    assert "IamInstanceProfile" not in head["node_config"], "Ray creates and attaches its default one"
    for node_type in types.values():
        node = node_type["node_config"]
        assert node["IamInstanceProfile"] == {"Name": "ray-autoscaler-v1"}
        (disk,) = node["BlockDeviceMappings"]
        assert disk["Ebs"]["VolumeSize"] >= 100  # GB: image, CUDA wheels, a 14 GB model, shards in flight


def test_nobody_runs_jobs_without_the_token(prepared: Config) -> None:
    """Otherwise whoever reaches the dashboard runs code on the cluster."""
    assert "security_group" not in prepared["provider"], "Ray's default group opens SSH only"
    assert prepared["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for role in ("head", "worker"):
        assert any("RAY_AUTH_MODE=token" in command for command in prepared[f"{role}_setup_commands"]), role
    (start,) = [command for command in prepared["head_start_ray_commands"] if "ray start" in command]
    assert "--dashboard-host=127.0.0.1" in start
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start, "without it no worker is ever launched"


def test_every_file_that_nodes_need_is_in_the_repository(prepared: Config) -> None:
    """Otherwise `ray up` stops before it starts, or a node's setup fails after it has been paid for."""
    for remote, local in prepared["file_mounts"].items():
        if not local.startswith("~/"):
            assert (ROOT / local).is_file(), f"{local} (for {remote}) is not in the repository"
    used = {path for command in commands(prepared) for path in re.findall(r"~/ards_ray/[\w.-]+", command)}
    files = {path for path in used if path != f"{NODE_HOME}venv"}
    assert files, "the setup installs nothing of ours"
    assert files <= prepared["file_mounts"].keys()


def test_nodes_install_what_the_tests_ran_with(prepared: Config) -> None:
    """Otherwise nodes run other versions than those that were tested, and Ray refuses to join two versions."""
    pinned = re.search(r"^ray(?:\[[\w,]+\])?==([\w.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned, "constraints.txt does not pin ray"
    assert pinned[1] == ray.__version__

    installs = [command for command in commands(prepared) if "pip install" in command]
    for command in installs:
        assert f"-c {NODE_HOME}constraints.txt" in command, command
        for explicit in re.findall(r"\bray(?:\[[\w,]+\])?==([\w.]+)", command):
            assert explicit == pinned[1], command
    for role in ("head", "worker"):
        setup = prepared[f"{role}_setup_commands"]
        assert any(f"-r {NODE_HOME}pyproject.toml" in command for command in setup), role

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "dependencies" not in project.get("dynamic", []), "nodes have pyproject.toml without the sources"
    (python,) = {v for command in commands(prepared) for v in re.findall(r"--python (3\.\d+)\b", command)}
    minimum = re.search(r">=\s*(\d+)\.(\d+)", project["requires-python"])
    assert minimum is not None
    assert tuple(map(int, python.split("."))) >= tuple(map(int, minimum.groups()))


def test_commands_are_shell(prepared: Config) -> None:
    """Otherwise a lost quote is found on a machine that is paid for."""
    for command in commands(prepared):
        checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{command}\n{checked.stderr}"
