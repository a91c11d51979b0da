"""Workers: how the work of stages is spread. A plain loop is in `signals/`, those of a cluster are in `cluster/`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ards_ray.config import ProxySettings, Settings
from ards_ray.run.directory import RunDirectory

# What a piece of work returns: a small row of plain values.
Row = dict[str, Any]
Say = Callable[[str], None]
# For each signal that is asked of a shard the rows to compute, None for all.
Wanted = Mapping[str, Sequence[int] | None]


class Workers(Protocol):
    """How the work of stages is spread."""

    def device(self) -> tuple[str, str]:
        """Device and dtype of the proxy; for `auto` those that the workers have.

        Raises:
            SettingsError: there are none.
        """

    def check(self, run: RunDirectory, settings: Settings, model: str, images: Sequence[str] = ()) -> None:
        """Check that all workers see output, corpus, images, model and adapter, and the same as here.

        Args:
            run: The run.
            settings: The run's settings.
            model: Digest of the checkpoint here; empty where no model is asked.
            images: Some image paths of the corpus that exist here.

        Raises:
            SettingsError: names the workers and what they do not see.
        """

    def map(self, function: Callable[..., Row], items: Sequence[Any], *shared: Any) -> Iterator[Row]:
        """Call `function(item, *shared)` for each item; what it returns, in any order."""

    def call(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], *shared: Any) -> Iterator[Any]:
        """Call `function(*arguments, *shared)` for each of some arguments; what it returns, in their order."""

    def score(self, work: Any, shards: Mapping[str, Wanted], total: int) -> Iterator[Row]:
        """Make shards ready, compute signals of them and write their parts.

        Args:
            work: What is computed (`signals.work.SignalWork`).
            shards: Names of the shards, and the rows of each signal to compute in each.
            total: How many shards the run has.

        Yields:
            For each shard `name` and `conversations`, how many it has.
        """

    def with_proxy(self, function: Callable[..., Any], settings: Settings, images: Sequence[str], *rest: Any) -> Any:
        """Call `function(settings, *rest)` once, where a proxy can be loaded."""


# Workers for the time of a job, given its proxy as the user states it; they say what the user must know.
OpenWorkers = Callable[[ProxySettings, Say], AbstractContextManager[Workers]]
