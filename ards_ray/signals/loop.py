"""Workers that are a plain loop in this process."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from ards_ray.config import ProxySettings, Settings
from ards_ray.models.loading import device_here
from ards_ray.run.directory import RunDirectory
from ards_ray.run.workers import Row, Say, Wanted, Workers
from ards_ray.signals.prepare import prepare_shard
from ards_ray.signals.proxy import load_proxy, proxy_inputs
from ards_ray.signals.score import score_shard
from ards_ray.signals.work import SignalWork
from ards_ray.signals.write import rows_of, write_shard


class Loop:
    """Workers that are this process: one piece of work after the other, nothing spread, nothing isolated."""

    def __init__(self, proxy: ProxySettings):
        self._proxy = proxy

    def device(self) -> tuple[str, str]:
        """See `Workers.device`."""
        return device_here(self._proxy)

    def check(self, run: RunDirectory, settings: Settings, model: str, images: Sequence[str] = ()) -> None:
        """See `Workers.check`. This process sees what it sees."""

    def map(self, function: Callable[..., Row], items: Sequence[Any], *shared: Any) -> Iterator[Row]:
        """See `Workers.map`."""
        for item in items:
            yield function(item, *shared)

    def call(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], *shared: Any) -> Iterator[Any]:
        """See `Workers.call`."""
        for some in arguments:
            yield function(*some, *shared)

    def score(self, work: SignalWork, shards: Mapping[str, Wanted], total: int) -> Iterator[Row]:
        """See `Workers.score`."""
        proxy, inputs = load_proxy(work.settings, work.model), proxy_inputs(str(work.settings.proxy.model))
        run = RunDirectory(work.output)
        for name, wanted in shards.items():
            started = monotonic()
            shard = prepare_shard(work, name, wanted, inputs)
            rows = rows_of(run, shard, score_shard(proxy, work.settings, shard))
            yield {"name": name, "conversations": write_shard(work, name, rows, started)}

    def with_proxy(self, function: Callable[..., Any], settings: Settings, images: Sequence[str], *rest: Any) -> Any:
        """See `Workers.with_proxy`."""
        return function(settings, *rest)


@contextmanager
def loop_workers(proxy: ProxySettings, say: Say) -> Iterator[Workers]:
    """Workers for tests and notebooks, which start no Ray."""
    yield Loop(proxy)
