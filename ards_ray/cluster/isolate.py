"""What kills the process that works on it is found by halving and given up; all the rest is done.

A process that holds a model is given some items at a time. Items over which it died twice are halved, until a single
one kills it as often by itself. A process that dies whatever it is given, or while it loads the model, ends the job.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import ray

from ards_ray.cluster.failure import DEATHS, is_alive
from ards_ray.cluster.resources import Pool
from ards_ray.errors import ArdsError

# Items must kill their process so often before they are halved, or blamed.
DEATHS_BLAMED = 2
# After so many deaths in a row, with nothing done between, something is tried that was done before: only if that kills
# as well it is not because of the items. To halve a shard or a wave down to what kills takes ten deaths or so; many
# that share a picture take more.
DEATHS_IN_A_ROW = 32
DEATHS_LOADING = 3
NODES_LOST = 3

Item = TypeVar("Item")


class Useless(Exception):
    """Raised in a process that is of no more use; counts as its death. Its text is why."""


@dataclass(frozen=True)
class Piece(Generic[Item]):
    """Items that are worked on together, and how often the process died over them."""

    items: Sequence[Item]
    deaths: int = 0

    @classmethod
    def suspected(cls, items: Sequence[Item]) -> "Piece[Item]":
        """Items over which a process died as part of others; a single one must still do it as often by itself."""
        return cls(items, DEATHS_BLAMED - 1 if len(items) > 1 else 0)

    def after_death(self) -> list["Piece[Item]"]:
        """What is to be tried after the process died over these; nothing if a single item is to blame."""
        if self.deaths + 1 < DEATHS_BLAMED:
            return [replace(self, deaths=self.deaths + 1)]
        if len(self.items) == 1:
            return []
        half = len(self.items) // 2
        return [Piece.suspected(self.items[:half]), Piece.suspected(self.items[half:])]


class Source(Protocol[Item]):
    """Where a process gets its items, and who takes what became of them."""

    def is_waiting(self) -> bool:
        """Whether there are next items."""

    def next(self) -> Sequence[Item]:
        """The next items; asked for when those before are done."""

    def wanted(self, items: Sequence[Item]) -> Sequence[Item]:
        """Those items that still need to be done."""

    def done_before(self) -> Sequence[Item]:
        """A few items that were done, in this job or before it; none if nothing was."""

    def record(self, items: Sequence[Item], result: Any) -> int:
        """Take what came of items. Returns how many were done."""

    def fail(self, item: Item, reason: str) -> None:
        """Give an item up."""

    def widen(self, width: int) -> None:
        """Learn what the process said when it had loaded the model: how wide its work is."""


class Holder(Generic[Item]):
    """A process that holds a model, as the driver sees it; started again when it dies.

    Args:
        actor: Class of the actor. Its method `load` gives the node that it is on and the width of its work.
        arguments: Those of its constructor.
        pool: What it takes of the cluster.
        call: Sends items to the actor.
        sources: Where the items come from; it has some of each at a time.
        suspected: Whether all the items are some over which a process died before.

    Attributes:
        calls: What was sent to it and has no answer yet, in that order: items and their source, or None for the call
            that loads the model.
    """

    def __init__(
        self,
        actor: type,
        arguments: tuple[Any, ...],
        pool: Pool,
        call: Callable[[Any, Sequence[Item]], Any],
        sources: Sequence[Source[Item]],
        suspected: bool = False,
    ):
        self._kind: Any = ray.remote(num_cpus=pool.cpus, num_gpus=pool.gpus, max_restarts=0, max_task_retries=0)(actor)
        self._arguments = arguments
        self._call = call
        self._sources = sources
        self._suspected = suspected
        # What is left of items over which the process died; done before the next of their source.
        self._pieces: dict[Source[Item], deque[Piece[Item]]] = {source: deque() for source in sources}
        self._actor: Any = None
        self.calls: dict[Any, tuple[Source[Item], Piece[Item]] | None] = {}
        self._node = ""
        self._deaths = self._deaths_loading = self._nodes_lost = 0

    def start(self) -> None:
        """Start the process, which loads the model, if there is anything to do."""
        if self.calls or any(self._has_next(source) for source in self._sources):
            self._actor = self._kind.remote(*self._arguments)
            self.calls[self._actor.load.remote()] = None

    def send(self) -> None:
        """Send the next items of each source that waits for nothing; end the process if there are none.

        Pieces go one at a time, so that it is known which of them the process dies over.
        """
        busy = [out[0] for out in self.calls.values() if out is not None]
        while True:
            suspects = [source for source in self._sources if self._pieces[source]]
            if suspects and self.calls:
                return
            for source in suspects[:1] or self._sources:
                if source not in busy and self._has_next(source):
                    piece = self._take_next(source)
                    self.calls[self._call(self._actor, piece.items)] = (source, piece)
            if self.calls or not suspects:
                break
        if not self.calls:
            self.end()

    def take(self, call: Any, result: Any) -> int:
        """Take what a call gave that has come back. Returns how many items were done."""
        out = self.calls.pop(call)
        if out is not None:
            self._deaths = self._nodes_lost = 0
            source, piece = out
            return source.record(piece.items, result)
        self._deaths_loading = 0
        self._node, width = result
        for source in self._sources:
            source.widen(width)
        return 0

    def bury(self, error: Exception, reason: str) -> None:
        """Start another process, which is given again what was not done.

        The oldest call is blamed, unless the process died before it was loaded, or with its node.

        Args:
            error: What Ray said.
            reason: Why an item is given up, if it is a single one's fault.

        Raises:
            ArdsError: it dies while it loads the model, or whatever it is given; or one node after the other is lost.
        """
        self.end()
        lost = [self.calls.pop(call) for call in list(self.calls) if not _is_done(call)]
        pieces = [out for out in lost if out is not None]
        problem = None
        if len(pieces) < len(lost):
            self._deaths_loading += 1
            if self._deaths_loading == DEATHS_LOADING:
                problem = f"died {DEATHS_LOADING} times while it loaded the model"
        elif not is_alive(self._node):
            self._nodes_lost += 1
            if self._nodes_lost == NODES_LOST:
                problem = f"was lost with its node {NODES_LOST} times in a row"
        else:
            self._deaths += 1
            if self._deaths % DEATHS_IN_A_ROW == 0 and not self._still_works():
                problem = f"died {self._deaths} times in a row, whatever it was given"
            else:
                self._blame(*pieces.pop(0), reason)
        if problem is not None:
            raise ArdsError(
                f"the process that holds the model {problem}; see the workers' logs. All that was done before is kept. "
                f"The last time: {error}"
            ) from error
        for source, piece in pieces:
            self._pieces[source].append(piece)
        self.start()

    def _blame(self, source: Source[Item], piece: Piece[Item], reason: str) -> None:
        again = piece.after_death()
        self._pieces[source].extendleft(reversed(again))
        if not again:
            source.fail(piece.items[0], reason)

    def end(self) -> None:
        """End the process."""
        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None

    def _has_next(self, source: Source[Item]) -> bool:
        pieces = self._pieces[source]
        while pieces:
            if items := source.wanted(pieces[0].items):
                pieces[0] = replace(pieces[0], items=items)
                return True
            pieces.popleft()
        return source.is_waiting()

    def _take_next(self, source: Source[Item]) -> Piece[Item]:
        if self._pieces[source]:
            return self._pieces[source].popleft()
        return Piece.suspected(source.next()) if self._suspected else Piece(source.next())

    def _still_works(self) -> bool:
        """Whether what was done before can be done now."""
        known = next((some for source in self._sources if (some := source.done_before())), ())
        if not known:
            return False
        actor = self._kind.remote(*self._arguments)
        try:
            ray.get(self._call(actor, known))
        except ray.exceptions.RayError:
            return False
        finally:
            ray.kill(actor)
        return True


def work_through(holders: Sequence[Holder[Item]], killed: str) -> Iterator[int]:
    """Have processes do all that their sources have, yielding how many items were done whenever one says or dies.

    Args:
        holders: The processes.
        killed: The reason of an item that kills its process.

    Raises:
        ArdsError: see `Holder.bury`.
        Exception: what a process raised.
    """
    try:
        for holder in holders:
            holder.start()
        while calls := {call: holder for holder in holders for call in holder.calls}:
            (ready,), _ = ray.wait(list(calls))
            holder = calls[ready]
            done = 0
            try:
                result = ray.get(ready)
            except DEATHS as error:
                holder.bury(error, killed)
            except ray.exceptions.RayTaskError as error:
                if not isinstance(error.cause, Useless):
                    raise
                holder.bury(error, str(error.cause))
            else:
                done = holder.take(ready, result)
                holder.send()
            yield done
    finally:
        for holder in holders:
            holder.end()


def _is_done(call: Any) -> bool:
    try:
        ray.get(call)
    except ray.exceptions.RayError:
        return False
    return True
