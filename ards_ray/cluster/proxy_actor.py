"""The process that holds the proxy."""

import os
from threading import Lock
from time import monotonic
from typing import Any

import ray
import torch

from ards_ray.cluster.failure import packed, unpacked
from ards_ray.cluster.preflight import check_images_here
from ards_ray.errors import ArdsError
from ards_ray.models.family import ProxyModel
from ards_ray.run.directory import RunDirectory
from ards_ray.run.workers import Wanted
from ards_ray.signals.prepare import prepare_shard
from ards_ray.signals.prepared import PreparedShard
from ards_ray.signals.proxy import load_proxy, proxy_inputs
from ards_ray.signals.score import ScoredShard, score_shard, vector_width
from ards_ray.signals.work import SignalWork
from ards_ray.signals.write import ShardRows, rows_of, write_shard

DEVICE_LOST = 70


class ProxyActor:
    """Holds the proxy; scores one prepared shard at a time and writes its part. Called by several threads.

    An error is told in the answer, not raised: to Ray Data a call that raises is the same as a process that died, and
    only the latter may be passed over.
    """

    def __init__(self, work: SignalWork):
        self._run = RunDirectory(work.output)
        self._work = work
        self._computing = Lock()
        self._model: ProxyModel | ArdsError
        try:
            self._model = load_proxy(work.settings, work.model)
        except ArdsError as error:
            # Of an actor that dies here only a trace comes back; raised for a shard, the error does.
            self._model = error

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            if row["failure"]:
                raise unpacked(row["failure"])
            return self._score(PreparedShard.from_row(row))
        except Exception as error:
            return {"name": row["name"], "conversations": 0, "failure": packed(error)}

    def _score(self, shard: PreparedShard) -> dict[str, Any]:
        with self._computing:
            started = monotonic()
            scored = self._scored(shard)
        count = write_shard(self._work, shard.name, rows_of(self._run, shard, scored), started)
        return {"name": shard.name, "conversations": count, "failure": b""}

    def score_rows(self, name: str, wanted: Wanted) -> ShardRows:
        """Some rows of a shard, made ready and scored in this process.

        Raises:
            ArdsError: this node does not see some images of the corpus that exist.
        """
        check_images_here(self._work.settings, self._work.images)
        shard = prepare_shard(self._work, name, wanted, proxy_inputs(str(self._work.settings.proxy.model)))
        return rows_of(self._run, shard, self._scored(shard))

    def load(self) -> tuple[str, int]:
        """The node it is on and the width of its vectors, once the proxy is loaded.

        Raises:
            ArdsError: it cannot be loaded.
        """
        return ray.get_runtime_context().get_node_id(), vector_width(self._proxy, self._work.settings)

    @property
    def _proxy(self) -> ProxyModel:
        if isinstance(self._model, ArdsError):
            raise self._model
        return self._model

    def _scored(self, shard: PreparedShard) -> ScoredShard:
        try:
            return score_shard(self._proxy, self._work.settings, shard)
        except torch.AcceleratorError:
            # The device is of no more use to this process, whatever it computes next. Ray starts another.
            os._exit(DEVICE_LOST)
