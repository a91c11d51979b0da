"""Workers: how the work of stages is spread. A plain loop is in `loop.py`, those of a cluster are in `cluster/`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ards_ray.config import ProxySettings, Settings
from ards_ray.run.directory import RunDirectory
from ards_ray.signals.reuse import Earlier

# What a piece of work returns: a small row of plain values.
Row = dict[str, Any]
Say = Callable[[str], None]


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
            model: Digest of the checkpoint here.
            images: Some image paths of the corpus that exist here.

        Raises:
            SettingsError: names the workers and what they do not see.
        """

    def map(self, function: Callable[..., Row], items: Sequence[Any], *shared: Any) -> Iterator[Row]:
        """Call `function(item, *shared)` for each item; what it returns, in any order."""

    def call(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], *shared: Any) -> Iterator[Any]:
        """Call `function(*arguments, *shared)` for each of some arguments; what it returns, in their order."""

    def score(
        self,
        run: RunDirectory,
        settings: Settings,
        shards: Mapping[str, Sequence[int] | None],
        total: int,
        model: str,
        stage: str,
        earlier: Earlier | None,
        images: Sequence[str],
    ) -> Iterator[Row]:
        """Prepare and score shards and write their signals parts.

        Args:
            run: The run.
            settings: The run's settings, nothing `auto` in them.
            shards: Names of the shards and the rows to score in each, None for all.
            total: How many shards the run has.
            model: Digest of the checkpoint.
            stage: The stage's fingerprint.
            earlier: Rows that another run has scored.
            images: Some image paths of the corpus that exist.

        Yields:
            For each shard `name` and `conversations`, how many it has.
        """

    def with_proxy(self, function: Callable[..., Any], settings: Settings, images: Sequence[str], *rest: Any) -> Any:
        """Call `function(settings, *rest)` once, where a proxy can be loaded."""


# Workers for the time of a job, given its proxy as the user states it; they say what the user must know.
OpenWorkers = Callable[[ProxySettings, Say], AbstractContextManager[Workers]]
