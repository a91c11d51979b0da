"""Workers that are a Ray cluster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray

from ards_ray.cluster.failure import known_cause
from ards_ray.cluster.parts import map_parts
from ards_ray.cluster.preflight import check_images_here, check_nodes
from ards_ray.cluster.resources import plan_workers, resolve_device
from ards_ray.cluster.session import ray_session
from ards_ray.cluster.signals import score_shards
from ards_ray.cluster.suspects import score_suspects
from ards_ray.config import ProxySettings, Settings
from ards_ray.run.directory import RunDirectory
from ards_ray.run.workers import Row, Say, Wanted, Workers
from ards_ray.signals.work import SignalWork


class RayWorkers:
    """See `Workers`. A conversation that kills the process which scores it is found and becomes a failed row."""

    def __init__(self, proxy: ProxySettings, say: Say):
        self._proxy = proxy
        self._say = say

    def device(self) -> tuple[str, str]:
        """See `Workers.device`."""
        return resolve_device(self._proxy)

    def check(self, run: RunDirectory, settings: Settings, model: str, images: Sequence[str] = ()) -> None:
        """See `Workers.check`."""
        check_nodes(run, settings, model, images)

    def map(self, function: Callable[..., Row], items: Sequence[Any], *shared: Any) -> Iterator[Row]:
        """See `Workers.map`."""
        yield from map_parts(function, items, *shared)

    def call(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], *shared: Any) -> Iterator[Any]:
        """See `Workers.call`."""
        task = ray.remote(num_cpus=1)(_call)
        stored = ray.put(shared)
        for answer in [task.remote(function, some, stored) for some in arguments]:
            yield ray.get(answer)

    def score(
        self,
        work: SignalWork,
        shards: Mapping[str, Wanted],
        total: int,
    ) -> Iterator[Row]:
        """See `Workers.score`."""
        settings = work.settings
        workers = plan_workers(settings.runtime, self._proxy.device, settings.proxy.device)
        left = dict(shards)
        for row in score_shards(work, left, total, workers):
            del left[row["name"]]
            yield row
        yield from score_suspects(replace(work, earlier=None), left, workers, self._say)

    def with_proxy(self, function: Callable[..., Any], settings: Settings, images: Sequence[str], *rest: Any) -> Any:
        """See `Workers.with_proxy`.

        Raises:
            ArdsError: the node does not see the images.
        """
        workers = plan_workers(settings.runtime, self._proxy.device, settings.proxy.device)
        task = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus)(_where_images_are)
        return ray.get(task.remote(function, settings, images, rest))


@contextmanager
def ray_workers(proxy: ProxySettings, say: Say) -> Iterator[Workers]:
    """The cluster for the time of a job.

    Raises:
        ArdsError: our own error, where one of ours stands behind an error of Ray.
    """
    with ray_session(), known_cause():
        yield RayWorkers(proxy, say)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], shared: tuple[Any, ...]) -> Any:
    return function(*arguments, *shared)


def _where_images_are(
    function: Callable[..., Any], settings: Settings, images: Sequence[str], rest: tuple[Any, ...]
) -> Any:
    check_images_here(settings, images)
    return function(settings, *rest)
