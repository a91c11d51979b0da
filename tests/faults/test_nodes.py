"""Nodes that leave and join in the middle of a run."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from drivers import Driver, Drivers, finished_signals, wait_for


def test_a_node_leaves_and_another_joins(
    cluster: Any, drivers: Drivers, select: Callable[..., Driver], tmp_path: Path, assert_same
) -> None:
    """Spot machines come and go; the proxy comes back on the next one, and nothing is scored twice."""
    run = tmp_path / "run"
    first = cluster.add_node(num_cpus=1, num_gpus=1)
    cluster.wait_for_nodes()
    # The proxy takes the only GPU, which is the new node's: a logical one, it computes on the CPU.
    driver = select(run, "--set", "proxy.device=auto", "--set", "runtime.workers=auto")
    second = None
    try:
        wait_for(lambda: len(shards_of(finished_signals(run))) >= 2, "two shards")
        before = finished_signals(run)
        cluster.remove_node(first, allow_graceful=False)
        second = cluster.add_node(num_cpus=1, num_gpus=1)
        assert driver.wait() == 0, driver.text
        after = finished_signals(run)
        # The last ones may have been written and their answers lost.
        redone = len(shards_of(path for path, stamp in before.items() if after[path] != stamp))
        assert redone <= 2
        assert_same(run, "node removed, another added", 1, f"shards in flight, {redone} of them written")
    finally:
        if second is not None:
            cluster.remove_node(second)


def shards_of(paths: Iterable[str]) -> set[str]:
    """The shards that some parts are of."""
    return {Path(path).name for path in paths}
