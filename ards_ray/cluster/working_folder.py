"""The working folder of a submitted job, which Ray may replace under the processes that work in it.

A node unpacks the package of a job when it first hears of it, and removes what lies in its place. Nodes that share
Ray's temporary folder so remove each other's working folder; torch cannot be imported where the working folder is gone.
"""

import os
from contextlib import suppress

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


def return_to_working_folder() -> None:
    """Go to the folder that lies where the working folder of this process was, if that is gone."""
    try:
        os.getcwd()
    except FileNotFoundError:
        # The shell that started this process names it there.
        with suppress(KeyError, FileNotFoundError):
            os.chdir(os.environ["PWD"])


def wait_for_working_folders() -> None:
    """Wait until every node of the cluster has unpacked the job's package: after that it is not replaced."""
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2 or "working_dir" not in ray.get_runtime_context().runtime_env:
        return
    # Not a function with a name, which would be imported from the package.
    there = ray.remote(num_cpus=0)(lambda: None)
    ray.get(
        [there.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True)).remote() for node in nodes]
    )
    return_to_working_folder()
