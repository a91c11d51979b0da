"""The process that holds the proxy."""

import os
from collections.abc import Sequence
from threading import Lock
from time import monotonic
from typing import Any

import pyarrow as pa
import ray
import torch

from ards_ray.cluster.failure import packed, unpacked
from ards_ray.cluster.preflight import check_images_here
from ards_ray.config import Settings
from ards_ray.errors import ArdsError
from ards_ray.models.family import ProxyModel
from ards_ray.run.directory import RunDirectory
from ards_ray.signals.prepare import prepare_shard
from ards_ray.signals.prepared import PreparedShard
from ards_ray.signals.proxy import load_proxy, proxy_inputs
from ards_ray.signals.score import ScoredShard, score_shard, signals_of, vector_width, write_scored

DEVICE_LOST = 70


class ProxyActor:
    """Holds the proxy; scores one prepared shard at a time and writes its part. Called by several threads.

    An error is told in the answer, not raised: to Ray Data a call that raises is the same as a process that died, and
    only the latter may be passed over.
    """

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
        count = write_scored(self._run, self._settings, shard, scored, self._width, self._stage, started)
        return {"name": shard.name, "conversations": count, "failure": b""}

    def score_rows(self, name: str, rows: list[int], images: Sequence[str]) -> tuple[pa.Table, int]:
        """Some rows of a shard, made ready and scored in this process, as rows of the signals table; and the splits.

        Raises:
            ArdsError: this node does not see some images of the corpus that exist.
        """
        check_images_here(self._settings, images)
        inputs = proxy_inputs(str(self._settings.proxy.model))
        shard = prepare_shard(self._run, name, self._settings, inputs, set(rows))
        scored = self._scored(shard)
        return signals_of(shard, scored, self._width), scored.splits

    def load(self) -> tuple[str, int]:
        """The node it is on and the width of its vectors, once the proxy is loaded.

        Raises:
            ArdsError: it cannot be loaded.
        """
        return ray.get_runtime_context().get_node_id(), self._width

    @property
    def _proxy(self) -> ProxyModel:
        if isinstance(self._model, ArdsError):
            raise self._model
        return self._model

    @property
    def _width(self) -> int:
        return vector_width(self._proxy, self._settings)

    def _scored(self, shard: PreparedShard) -> ScoredShard:
        try:
            return score_shard(self._proxy, self._settings, shard)
        except torch.AcceleratorError:
            # The device is of no more use to this process, whatever it computes next. Ray starts another.
            os._exit(DEVICE_LOST)
