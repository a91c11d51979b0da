"""Shards whose process died: scored alone, and halved until the conversation that kills it is found."""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

import pyarrow.compute as pc
import ray

from ards_ray.cluster.failure import DEATHS, DEATHS_BLAMED, DEATHS_IN_A_ROW, is_alive
from ards_ray.cluster.proxy_actor import ProxyActor
from ards_ray.cluster.resources import Workers
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.errors import ArdsError
from ards_ray.run.directory import RunDirectory
from ards_ray.run.workers import Wanted
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.signal import OK
from ards_ray.signals.work import SignalWork
from ards_ray.signals.write import ShardRows, joined, killed_rows, write_shard

NODES_LOST = 3


class LoneProxy:
    """A proxy actor that scores some rows at a time and is replaced when it dies; a context manager.

    Args:
        work: What is computed.
        workers: What a proxy actor takes.
    """

    def __init__(self, work: SignalWork, workers: Workers):
        self._kind: Any = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus, max_restarts=0, max_task_retries=0)(
            ProxyActor
        )
        self.work = work
        self.run = RunDirectory(work.output)
        self._actor: Any = None
        self._node = ""
        self._deaths = 0
        self.width = 0

    def score(self, name: str, wanted: Wanted) -> ShardRows | None:
        """Rows of the signals, None where the process died of it and not with its node.

        Raises:
            ArdsError: the proxy's process dies before it has loaded the model, or whatever it scores; nodes are lost
                one after the other; or a node that joined does not see the images.
        """
        for _ in range(NODES_LOST):
            self._start()
            try:
                scored: ShardRows = ray.get(self._actor.score_alone.remote(name, wanted))
                self._deaths = 0
                return scored
            except DEATHS as error:
                self._actor = None
                if not is_alive(self._node):
                    continue
                self._deaths += 1
                if self._deaths % DEATHS_IN_A_ROW == 0 and not self._still_scores():
                    raise ArdsError(
                        f"the proxy's process died {self._deaths} times in a row, whatever it scored: {error}"
                    ) from error
                return None
        raise ArdsError(f"{NODES_LOST} nodes were lost one after the other while they scored {name} alone; try again")

    def __enter__(self) -> "LoneProxy":
        return self

    def __exit__(self, *error: object) -> None:
        if self._actor is not None:
            ray.kill(self._actor)

    def _still_scores(self) -> bool:
        """Whether something that was scored before can be scored now."""
        parts = [(signal, part) for signal in self.work.stamps for part in SIGNALS[signal].table.parts(self.run)]
        known = next(((signal, part) for signal, part in parts if part.details.ok), None)
        if known is None:
            return False
        signal, part = known
        table = self.run.read_table(part.path, ["row", "status"])
        row = table.filter(pc.equal(table["status"], OK))["row"][0].as_py()
        self._start()
        try:
            ray.get(self._actor.score_alone.remote(part.name, {signal: [row]}))
        except DEATHS:
            self._actor = None
            return False
        return True

    def _start(self) -> None:
        if self._actor is not None:
            return
        cause: Exception | None = None
        for _ in range(NODES_LOST):
            actor = self._kind.remote(self.work)
            try:
                self._node, self.width = ray.get(actor.place.remote())
                self._actor = actor
                return
            except DEATHS as error:
                cause = error
        raise ArdsError(f"the proxy's process died {NODES_LOST} times while it loaded the model: {cause}")


def score_alone(proxy: LoneProxy, name: str, wanted: Wanted) -> dict[str, Any]:
    """Score a shard whose process died, and write its part.

    The whole is tried first, in a process of its own. While a piece kills its process it is cut in halves; a single
    conversation that does so twice becomes a failed row.

    Args:
        proxy: Scores it.
        name: The shard.
        wanted: The rows of each signal to compute, None for all.

    Returns:
        The counts of `score_shards`, and `killed`: how many conversations killed their process.
    """
    started = monotonic()
    rows = CONVERSATIONS.read(proxy.run, name, ["row"])["row"].to_pylist()
    asked = {signal: rows if some is None else some for signal, some in wanted.items()}
    pieces = [[row for row in rows if any(row in some for some in asked.values())]]
    scored_pieces: list[ShardRows] = []
    killers: list[int] = []
    splits = deaths = 0
    while pieces:
        piece = pieces.pop(0)
        scored = proxy.score(name, _within(asked, piece))
        if scored is not None:
            scored_pieces.append(scored)
            deaths = 0
        elif len(piece) > 1:
            splits += 1
            pieces = [piece[: len(piece) // 2], piece[len(piece) // 2 :], *pieces]
        else:
            deaths += 1
            if deaths < DEATHS_BLAMED:
                pieces = [piece, *pieces]
            else:
                killers += piece
                deaths = 0
    killed = killed_rows(_within(asked, killers), proxy.width)
    count = write_shard(proxy.work, name, joined([*scored_pieces, killed], splits), started)
    return {"name": name, "conversations": count, "killed": len(killers)}


def _within(asked: Mapping[str, Sequence[int]], piece: Sequence[int]) -> dict[str, list[int]]:
    """What is asked of some rows."""
    return {signal: [row for row in piece if row in set(rows)] for signal, rows in asked.items()}
