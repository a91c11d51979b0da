"""Shards whose process died: scored again in a process of their own, all but the conversations that kill it."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import pyarrow.compute as pc

from ards_ray.cluster.isolate import Holder, work_through
from ards_ray.cluster.proxy_actor import ProxyActor
from ards_ray.cluster.resources import Pool
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.run.directory import RunDirectory
from ards_ray.run.workers import Wanted
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.signal import OK
from ards_ray.signals.work import SignalWork
from ards_ray.signals.write import ShardRows, joined, killed_rows, write_shard


@dataclass(frozen=True)
class Suspect:
    """A row of a shard, and the signals that are asked of it."""

    shard: str
    row: int
    signals: tuple[str, ...]


def score_suspects(
    work: SignalWork, shards: Mapping[str, Wanted], pool: Pool, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Score shards whose process died, one after the other, and write their parts.

    Args:
        work: What is computed.
        shards: Names of the shards, and the rows of each signal to compute in each.
        pool: What a proxy actor takes.
        say: Told which shards, and how many of their conversations kill their process.

    Yields:
        The counts of `score_shards`.

    Raises:
        ArdsError: the process dies before it has loaded the proxy, or whatever it scores; nodes are lost one after the
            other; or a node that joined does not see the images.
    """

    def call(actor: Any, items: Sequence[Suspect]) -> Any:
        return actor.score_rows.remote(items[0].shard, _wanted(items))

    suspects = _Suspects(work, shards, say)
    holder = Holder(ProxyActor, (work,), pool, call, [suspects], suspected=True)
    for _ in work_through([holder], "killed the process that scored it"):
        yield from suspects.written
        suspects.written.clear()


def _wanted(items: Sequence[Suspect]) -> dict[str, list[int]]:
    """The rows of each signal that are asked of some suspects."""
    names = dict.fromkeys(name for item in items for name in item.signals)
    return {name: [item.row for item in items if name in item.signals] for name in names}


class _Suspects:
    """The shards as a source of rows; see `Source`.

    Attributes:
        written: Counts of the shards that were written and not yet told of.
    """

    def __init__(self, work: SignalWork, shards: Mapping[str, Wanted], say: Callable[[str], None]):
        self._work, self._say = work, say
        self._run = RunDirectory(work.output)
        self._waiting = deque(shards.items())
        self._width = 0
        self._shard = _Shard("", 0)
        self.written: list[dict[str, Any]] = []

    def is_waiting(self) -> bool:
        """See `Source.is_waiting`."""
        return bool(self._waiting)

    def next(self) -> Sequence[Suspect]:
        """See `Source.next`."""
        name, wanted = self._waiting.popleft()
        self._say(f"{name}: the process that scored it died; it is scored alone.")
        asked = {signal: None if rows is None else set(rows) for signal, rows in wanted.items()}
        suspects = [
            Suspect(name, row, tuple(signal for signal, some in asked.items() if some is None or row in some))
            for row in CONVERSATIONS.read(self._run, name, ["row"])["row"].to_pylist()
        ]
        found = [suspect for suspect in suspects if suspect.signals]
        self._shard = _Shard(name, len(found))
        return found

    def wanted(self, items: Sequence[Suspect]) -> Sequence[Suspect]:
        """See `Source.wanted`."""
        return items

    def done_before(self) -> Sequence[Suspect]:
        """See `Source.done_before`."""
        for signal in self._work.stamps:
            known = next((part for part in SIGNALS[signal].table.parts(self._run) if part.details.ok), None)
            if known is not None:
                table = self._run.read_table(known.path, ["row", "status"])
                row = table.filter(pc.equal(table["status"], OK))["row"][0].as_py()
                return [Suspect(known.name, row, (signal,))]
        return ()

    def record(self, items: Sequence[Suspect], result: ShardRows) -> int:
        """See `Source.record`."""
        self._shard.pieces.append(result)
        self._shard.done += len(items)
        self._write_if_done()
        return len(items)

    def fail(self, item: Suspect, reason: str) -> None:
        """See `Source.fail`."""
        self._shard.killers.append(item)
        self._shard.done += 1
        self._write_if_done()

    def widen(self, width: int) -> None:
        """See `Source.widen`. The width is that of the vectors."""
        self._width = width

    def _write_if_done(self) -> None:
        shard = self._shard
        if shard.done < shard.rows:
            return
        # What was cut in halves ended in one more piece with each cut.
        cuts = len(shard.pieces) + len(shard.killers) - 1
        killed = killed_rows(_wanted(shard.killers), self._width)
        count = write_shard(self._work, shard.name, joined([*shard.pieces, killed], cuts), shard.started)
        self._say(f"{shard.name}: {len(shard.killers)} of its conversations kill the process that scores them.")
        self.written.append({"name": shard.name, "conversations": count})


@dataclass
class _Shard:
    """What there is of a shard so far.

    Attributes:
        name: Its name.
        rows: How many rows are to be scored.
        done: How many of them are scored, or given up.
        pieces: Those that are scored.
        killers: Those that kill their process.
        started: When work on it began.
    """

    name: str
    rows: int
    done: int = 0
    pieces: list[ShardRows] = field(default_factory=list)
    killers: list[Suspect] = field(default_factory=list)
    started: float = field(default_factory=monotonic)
