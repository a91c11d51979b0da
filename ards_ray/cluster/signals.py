"""Signals on Ray Data: shards through CPU tasks into a pool of proxy actors."""

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from threading import Lock
from time import monotonic
from typing import Any

import ray
import torch
from ray.util.annotations import RayDeprecationWarning

from ards_ray.cluster.resources import Workers
from ards_ray.config import Settings
from ards_ray.errors import ArdsError, SettingsError
from ards_ray.proxy.checkpoint import checkpoint_digest, checkpoint_folder
from ards_ray.proxy.family import ProxyInputs, ProxyModel, load_inputs, load_model
from ards_ray.run.directory import RunDirectory
from ards_ray.stages.prepare import prepare_shard
from ards_ray.stages.prepared import PreparedShard
from ards_ray.stages.score import score_shard, strongest, vector_width, write_signals

TASK_RETRIES = 3
# While the proxy computes one shard, the next is unpacked and the one before is written.
CALLS_PER_ACTOR = 2


def score_shards(
    run: RunDirectory,
    settings: Settings,
    shards: Mapping[str, Sequence[int] | None],
    workers: Workers,
    model: str,
    stage: str,
) -> Iterator[dict[str, Any]]:
    """Score shards, yielding a small row of counts for each that is written.

    Args:
        run: The run.
        settings: The run's settings, nothing `auto` in them.
        shards: Names of the shards and the rows to score in each, None for all.
        workers: The pool.
        model: Digest of the checkpoint.
        stage: The stage's fingerprint.
    """
    if not shards:
        return
    items = [{"name": name, "rows": None if rows is None else list(rows)} for name, rows in shards.items()]
    shared = ray.put(items)
    prepare: Any = _prepare
    actor: Any = ProxyActor
    prepared = ray.data.range(len(items), override_num_blocks=len(items)).map(
        prepare, fn_args=(run.url, settings, shared), num_cpus=1
    )
    with warnings.catch_warnings():
        # Ray deprecates free remote arguments; for the number of retries it has no other name yet.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        scored = prepared.map(
            actor,
            fn_constructor_args=(run.url, settings, model, stage),
            compute=ray.data.ActorPoolStrategy(
                min_size=1,
                max_size=workers.count,
                initial_size=workers.count,
                max_concurrent_calls_per_actor=CALLS_PER_ACTOR,
                enable_true_multi_threading=True,
            ),
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
            # A pool whose actors may not restart hangs when they are dead; one that retries for ever never ends.
            max_restarts=-1,
            max_task_retries=TASK_RETRIES,
        )
    yield from scored.iter_rows()


@lru_cache(maxsize=1)
def _inputs(model: str) -> ProxyInputs:
    return load_inputs(checkpoint_folder(model))


def _prepare(row: dict[str, Any], output: str, settings: Settings, shared: Any) -> dict[str, Any]:
    items = ray.get(shared) if isinstance(shared, ray.ObjectRef) else shared
    item = items[row["id"]]
    only: Collection[int] | None = None if item["rows"] is None else set(item["rows"])
    inputs = _inputs(str(settings.proxy.model))
    return prepare_shard(RunDirectory(output), item["name"], settings, inputs, only).to_row()


def load_proxy(settings: Settings, model: str) -> ProxyModel:
    """The proxy in this process, which then computes with the settings' number of threads.

    Raises:
        SettingsError: the checkpoint is not the one of the run, or cannot be loaded.
    """
    folder = checkpoint_folder(str(settings.proxy.model))
    if checkpoint_digest(folder) != model:
        raise SettingsError(f"{folder}: not the checkpoint that the job was started with")
    torch.set_num_threads(settings.runtime.threads)
    # Imported late: workers of the other stages do not wait for it.
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    return load_model(folder, settings.proxy)


class ProxyActor:
    """Holds the proxy; scores one prepared shard at a time and writes its part. Called by several threads."""

    def __init__(self, output: str, settings: Settings, model: str, stage: str):
        self._run = RunDirectory(output)
        self._settings = settings
        self._stage = stage
        self._computing = Lock()
        self._model: ProxyModel | ArdsError
        try:
            self._model = load_proxy(settings, model)
        except ArdsError as error:
            # Of an actor that dies here only a trace comes back; raised for a shard, the error does.
            self._model = error

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if isinstance(self._model, ArdsError):
            raise self._model
        shard = PreparedShard.from_row(row)
        with self._computing:
            started = monotonic()
            scored = score_shard(self._model, self._settings, shard)
        width = vector_width(self._model, self._settings)
        part = write_signals(self._run, self._settings, shard, scored, width, self._stage, started)
        return {
            "name": shard.name,
            "conversations": len(shard.conversations),
            "failed": part.details["failed"],
            "splits": scored.splits,
        }


def score_corrupted(
    run: RunDirectory, settings: Settings, rows: Mapping[str, Sequence[int]], workers: Workers, model: str
) -> dict[int, Any]:
    """Vectors float16 [d] of the corrupted versions of a few conversations, given by shard, in one task."""
    task = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus)(_score_corrupted)
    return ray.get(task.remote(run.url, settings, dict(rows), model))


def _score_corrupted(output: str, settings: Settings, rows: Mapping[str, Sequence[int]], model: str) -> dict[int, Any]:
    run = RunDirectory(output)
    proxy = load_proxy(settings, model)
    vectors = {}
    for name, wanted in rows.items():
        shard = prepare_shard(run, name, settings, _inputs(str(settings.proxy.model)), set(wanted))
        for row, scores in score_shard(proxy, settings, shard, vectors="all").scores.items():
            best = strongest(scores)
            if best is not None and best.vector is not None:
                vectors[row] = best.vector.astype("float16")
    return vectors
