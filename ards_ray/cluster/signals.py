"""Signals on Ray Data: shards through CPU tasks into a pool of proxy actors."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray.util.annotations import RayDeprecationWarning

from ards_ray.cluster.failure import DEATHS, packed, unpacked
from ards_ray.cluster.parts import shared_once
from ards_ray.cluster.preflight import check_images_here
from ards_ray.cluster.proxy_actor import ProxyActor
from ards_ray.cluster.resources import Pool
from ards_ray.cluster.session import forestall_restart_warning
from ards_ray.errors import ArdsError
from ards_ray.run.workers import Wanted
from ards_ray.signals.prepare import prepare_shard
from ards_ray.signals.prepared import PreparedShard
from ards_ray.signals.proxy import proxy_inputs
from ards_ray.signals.work import SignalWork
from ards_ray.signals.write import written_shards

# A shard whose process died is tried once more; after that it is left to be scored alone, which tells why.
DEATHS_RETRIED = 1
# Of so many shards at least, and this share of them, the process may die before the job gives up: what kills more than
# that is not in the conversations.
LOST_SHARDS = 32
LOST_SHARE = 0.1
# While the proxy computes one shard, the next is unpacked and the one before is written.
CALLS_PER_ACTOR = 2


def score_shards(work: SignalWork, shards: Mapping[str, Wanted], total: int, workers: Pool) -> Iterator[dict[str, Any]]:
    """Score shards, yielding a row of counts for each that is written; those that kill their process are left out.

    A node that is lost takes the shards of its actors along, and the second try of each as well, which finds its actor
    still missing. So when nodes were lost, all that is left begins another round, as long as rounds get anywhere.

    Args:
        work: What is computed.
        shards: Names of the shards, and the rows of each signal to compute in each.
        total: How many shards the run has. Those that kill their process are the last ones left of an interrupted
            run, and no more of them are tolerated in one start than in several.
        workers: The pool.

    Raises:
        ArdsError: the processes of too many shards died, or a node that joined does not see the images.
        Exception: what a shard raised.
    """
    left = dict(shards)
    tolerated = max(LOST_SHARDS, int(LOST_SHARE * total))
    while left:
        before, lost = len(left), _lost_nodes()
        died: Exception | None = None
        try:
            for row in _pipeline(work, left, workers, tolerated).iter_rows():
                if row["failure"]:
                    raise unpacked(row["failure"])
                del left[row["name"]]
                yield row
        except DEATHS as error:
            died = error
        for name, rows in written_shards(work, left).items():
            # Written, and their answers lost with a node.
            del left[name]
            yield {"name": name, "conversations": rows}
        if len(left) < before and _lost_nodes() > lost:
            continue
        if died is not None:
            raise ArdsError(
                f"the processes of more than {tolerated} shards died, or one could not start: that is not because of "
                f"single conversations; see the workers' logs. All that was scored is kept. The last one: {died}"
            ) from died
        return


def _lost_nodes() -> int:
    return sum(not node["Alive"] for node in ray.nodes())


def _pipeline(work: SignalWork, shards: Mapping[str, Wanted], workers: Pool, tolerated: int) -> ray.data.Dataset:
    shared = ray.put((list(shards.items()), work))
    forestall_restart_warning()
    prepare: Any = _prepare
    actor: Any = ProxyActor
    # A dataset keeps the context that it was made in.
    context = ray.data.DataContext.get_current().copy()
    context.max_errored_blocks = tolerated
    with ray.data.DataContext.current(context), warnings.catch_warnings():
        # Ray deprecates free remote arguments; for the number of retries it has no other name yet.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        prepared = ray.data.range(len(shards), override_num_blocks=len(shards)).map(
            prepare, fn_args=(shared,), num_cpus=1, max_retries=DEATHS_RETRIED
        )
        return prepared.map(
            actor,
            fn_constructor_args=(replace(work, earlier=None),),
            compute=ray.data.ActorPoolStrategy(
                min_size=1,
                max_size=workers.count,
                initial_size=workers.count,
                max_concurrent_calls_per_actor=CALLS_PER_ACTOR,
                # Each that is sent ahead dies with the actor.
                max_tasks_in_flight_per_actor=CALLS_PER_ACTOR,
                enable_true_multi_threading=True,
            ),
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
            # A pool whose actors may not restart hangs when they are dead; calls that are retried for ever never end.
            max_restarts=-1,
            max_task_retries=DEATHS_RETRIED,
        )


def _prepare(row: dict[str, Any], shared: Any) -> dict[str, Any]:
    items, work = shared_once(shared)
    name, wanted = items[row["id"]]
    try:
        check_images_here(work.settings, work.images)
        shard = prepare_shard(work, name, wanted, proxy_inputs(str(work.settings.proxy.model)))
        return {**shard.to_row(), "failure": b""}
    except Exception as error:
        # Told, not raised; see `ProxyActor`.
        return {**PreparedShard(name).to_row(), "failure": packed(error)}
