"""A function over the parts of a table, as Ray Data tasks."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import ray
from ray.data import Dataset

PARTS_PER_TASK = 8


def map_parts(
    function: Callable[..., dict[str, Any]], parts: Sequence[Any], *arguments: Any
) -> Iterator[dict[str, Any]]:
    """Call `function(part, *arguments)` for each part, in tasks, yielding what it returns in any order.

    Args:
        function: Returns a small row of plain values.
        parts: The parts, or named groups of them.
        arguments: Sent to each task once, through the object store.
    """
    if not parts:
        return
    cpus = int(ray.cluster_resources().get("CPU", 1))
    blocks = min(len(parts), max(4 * cpus, len(parts) // PARTS_PER_TASK))
    shared = ray.put((list(parts), arguments))
    call: Any = _call
    rows: Dataset = ray.data.range(len(parts), override_num_blocks=blocks).map(call, fn_args=(function, shared))
    yield from rows.iter_rows()


def _call(row: dict[str, Any], function: Callable[..., dict[str, Any]], shared: Any) -> dict[str, Any]:
    parts, arguments = shared_once(shared)
    return function(parts[row["id"]], *arguments)


@lru_cache(maxsize=1)
def shared_once(shared: Any) -> Any:
    """What all rows share, once for a worker: to unpack thousands of parts takes longer than many a row's work."""
    return ray.get(shared)
