"""Signals on Ray Data: shards through CPU tasks into a pool of proxy actors."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ray
from ray.util.annotations import RayDeprecationWarning

from ards_ray.cluster.failure import DEATHS, packed, unpacked
from ards_ray.cluster.parts import shared_once
from ards_ray.cluster.preflight import check_images_here
from ards_ray.cluster.proxy_actor import ProxyActor
from ards_ray.cluster.resources import Pool
from ards_ray.cluster.session import forestall_restart_warning
from ards_ray.config import Settings
from ards_ray.errors import ArdsError
from ards_ray.run.directory import RunDirectory
from ards_ray.signals.prepare import prepare_shard
from ards_ray.signals.prepared import PreparedShard
from ards_ray.signals.proxy import proxy_inputs
from ards_ray.signals.reuse import Earlier

# A shard whose process died is tried once more; after that it is left to be scored alone, which tells why.
DEATHS_RETRIED = 1
# Of so many shards at least, and this share of them, the process may die before the job gives up: what kills more than
# that is not in the conversations.
LOST_SHARDS = 32
LOST_SHARE = 0.1
# While the proxy computes one shard, the next is unpacked and the one before is written.
CALLS_PER_ACTOR = 2


def score_shards(
    run: RunDirectory,
    settings: Settings,
    shards: Mapping[str, Sequence[int] | None],
    total: int,
    workers: Pool,
    model: str,
    stage: str,
    earlier: Earlier | None,
    images: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """Score shards, yielding a row of counts for each that is written; those that kill their process are left out.

    A node that is lost takes the shards of its actors along, and the second try of each as well, which finds its actor
    still missing. So when nodes were lost, all that is left begins another round, as long as rounds get anywhere.

    Args:
        run: The run.
        settings: The run's settings, nothing `auto` in them.
        shards: Names of the shards and the rows to score in each, None for all.
        total: How many shards the run has. Those that kill their process are the last ones left of an interrupted
            run, and no more of them are tolerated in one start than in several.
        workers: The pool.
        model: Digest of the checkpoint.
        stage: The stage's fingerprint.
        earlier: Rows that another run has scored.
        images: Some image paths of the corpus that exist.

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
            for row in _pipeline(run, settings, left, workers, model, stage, earlier, images, tolerated).iter_rows():
                if row["failure"]:
                    raise unpacked(row["failure"])
                del left[row["name"]]
                yield row
        except DEATHS as error:
            died = error
        for part in run.parts("signals"):
            # Written, and its answer lost with a node.
            if part.fingerprint == stage and part.name in left and left[part.name] is None:
                del left[part.name]
                yield {"name": part.name, "conversations": part.rows}
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


def _pipeline(
    run: RunDirectory,
    settings: Settings,
    shards: Mapping[str, Sequence[int] | None],
    workers: Pool,
    model: str,
    stage: str,
    earlier: Earlier | None,
    images: Sequence[str],
    tolerated: int,
) -> ray.data.Dataset:
    items = [{"name": name, "rows": None if rows is None else list(rows)} for name, rows in shards.items()]
    shared = ray.put((items, earlier, images))
    forestall_restart_warning()
    prepare: Any = _prepare
    actor: Any = ProxyActor
    # A dataset keeps the context that it was made in.
    context = ray.data.DataContext.get_current().copy()
    context.max_errored_blocks = tolerated
    with ray.data.DataContext.current(context), warnings.catch_warnings():
        # Ray deprecates free remote arguments; for the number of retries it has no other name yet.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        prepared = ray.data.range(len(items), override_num_blocks=len(items)).map(
            prepare, fn_args=(run.url, settings, shared), num_cpus=1, max_retries=DEATHS_RETRIED
        )
        return prepared.map(
            actor,
            fn_constructor_args=(run.url, settings, model, stage),
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


def _prepare(row: dict[str, Any], output: str, settings: Settings, shared: Any) -> dict[str, Any]:
    items, earlier, images = shared_once(shared)
    item = items[row["id"]]
    only = None if item["rows"] is None else set(item["rows"])
    try:
        check_images_here(settings, images)
        inputs = proxy_inputs(str(settings.proxy.model))
        shard = prepare_shard(RunDirectory(output), item["name"], settings, inputs, only, earlier)
        return {**shard.to_row(), "failure": b""}
    except Exception as error:
        # Told, not raised; see `ProxyActor`.
        return {**PreparedShard(item["name"], (), ()).to_row(), "failure": packed(error)}
