"""Shards whose process died: scored again in a process of their own, all but the conversations that kill it."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.cluster.isolate import Holder, work_through
from ards_ray.cluster.proxy_actor import ProxyActor
from ards_ray.cluster.resources import Pool
from ards_ray.config import Settings
from ards_ray.run.directory import RunDirectory
from ards_ray.signals.score import killed_rows, write_signals

# A shard and a row of it.
Row = tuple[str, int]


def score_suspects(
    run: RunDirectory,
    settings: Settings,
    shards: Mapping[str, Sequence[int]],
    pool: Pool,
    model: str,
    stage: str,
    images: Sequence[str],
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Score shards whose process died, one after the other, and write their parts.

    Args:
        run: The run.
        settings: The run's settings.
        shards: Names of the shards and the rows to score in each.
        pool: What a proxy actor takes.
        model: Digest of the checkpoint.
        stage: Fingerprint of the signals.
        images: Some image paths of the corpus that exist.
        say: Told which shards, and how many of their conversations kill their process.

    Yields:
        The counts of `score_shards`.

    Raises:
        ArdsError: the process dies before it has loaded the proxy, or whatever it scores; nodes are lost one after the
            other; or a node that joined does not see the images.
    """

    def call(actor: Any, rows: Sequence[Row]) -> Any:
        return actor.score_rows.remote(rows[0][0], [row for _, row in rows], images)

    suspects = _Suspects(run, settings, shards, stage, say)
    holder = Holder(ProxyActor, (run.url, settings, model, stage), pool, call, [suspects], suspected=True)
    for _ in work_through([holder], "killed the process that scored it"):
        yield from suspects.written
        suspects.written.clear()


class _Suspects:
    """The shards as a source of rows; see `Source`.

    Attributes:
        written: Counts of the shards that were written and not yet told of.
    """

    def __init__(
        self,
        run: RunDirectory,
        settings: Settings,
        shards: Mapping[str, Sequence[int]],
        stage: str,
        say: Callable[[str], None],
    ):
        self._run, self._settings, self._stage, self._say = run, settings, stage, say
        self._waiting = deque(shards.items())
        self._width = 0
        self._shard = _Shard("", 0)
        self.written: list[dict[str, Any]] = []

    def is_waiting(self) -> bool:
        """See `Source.is_waiting`."""
        return bool(self._waiting)

    def next(self) -> Sequence[Row]:
        """See `Source.next`."""
        name, rows = self._waiting.popleft()
        self._say(f"{name}: the process that scored it died; it is scored alone.")
        self._shard = _Shard(name, len(rows))
        return [(name, row) for row in rows]

    def wanted(self, items: Sequence[Row]) -> Sequence[Row]:
        """See `Source.wanted`."""
        return items

    def done_before(self) -> Sequence[Row]:
        """See `Source.done_before`."""
        known = next((part for part in self._run.parts("signals") if part.details["ok"]), None)
        if known is None:
            return ()
        table = self._run.read_table(known.path, ["row", "status"])
        return [(known.name, table.filter(pc.equal(table["status"], "ok"))["row"][0].as_py())]

    def record(self, items: Sequence[Row], result: tuple[pa.Table, int]) -> int:
        """See `Source.record`."""
        table, splits = result
        self._shard.tables.append(table)
        self._shard.splits += splits
        self._write_if_done()
        return len(items)

    def fail(self, item: Row, reason: str) -> None:
        """See `Source.fail`."""
        self._shard.killers.append(item[1])
        self._write_if_done()

    def widen(self, width: int) -> None:
        """See `Source.widen`. The width is that of the vectors."""
        self._width = width

    def _write_if_done(self) -> None:
        shard = self._shard
        if sum(map(len, shard.tables)) + len(shard.killers) < shard.rows:
            return
        table = pa.concat_tables([*shard.tables, killed_rows(shard.killers, self._width)])
        # What was cut in halves ended in one more piece with each cut.
        cuts = len(shard.tables) + len(shard.killers) - 1
        write_signals(self._run, self._settings, shard.name, table, self._stage, shard.started, shard.splits + cuts)
        self._say(f"{shard.name}: {len(shard.killers)} of its conversations kill the process that scores them.")
        self.written.append({"name": shard.name, "conversations": table.num_rows})


@dataclass
class _Shard:
    """What there is of a shard so far.

    Attributes:
        name: Its name.
        rows: How many rows are to be scored.
        tables: Those that are.
        killers: Those that kill their process.
        splits: How often a batch was split because it could not be computed whole.
        started: When work on it began.
    """

    name: str
    rows: int
    tables: list[pa.Table] = field(default_factory=list)
    killers: list[int] = field(default_factory=list)
    splits: int = 0
    started: float = field(default_factory=monotonic)
