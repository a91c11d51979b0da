"""Shards whose process died: scored alone, and halved until the conversation that kills it is found."""

from collections.abc import Sequence
from time import monotonic
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray

from ards_ray.cluster.failure import DEATHS, DEATHS_BLAMED, DEATHS_IN_A_ROW, is_alive
from ards_ray.cluster.proxy_actor import ProxyActor
from ards_ray.cluster.resources import Workers
from ards_ray.config import Settings
from ards_ray.errors import ArdsError
from ards_ray.run.directory import RunDirectory
from ards_ray.signals.score import killed_rows, write_signals

NODES_LOST = 3


class LoneProxy:
    """A proxy actor that scores some rows at a time and is replaced when it dies; a context manager.

    Args:
        run: The run.
        settings: The run's settings.
        workers: What a proxy actor takes.
        model: Digest of the checkpoint.
        stage: Fingerprint of the signals.
        images: Some image paths of the corpus that exist.
    """

    def __init__(
        self,
        run: RunDirectory,
        settings: Settings,
        workers: Workers,
        model: str,
        stage: str,
        images: Sequence[str],
    ):
        self._kind: Any = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus, max_restarts=0, max_task_retries=0)(
            ProxyActor
        )
        self._arguments = (run.url, settings, model, stage)
        self._images = images
        self.run, self.settings, self.stage = run, settings, stage
        self._actor: Any = None
        self._node = ""
        self._deaths = 0
        self.width = 0

    def score(self, name: str, rows: Sequence[int]) -> tuple[pa.Table, int] | None:
        """Rows of the signals table and the splits, None where the process died of it and not with its node.

        Raises:
            ArdsError: the proxy's process dies before it has loaded the model, or whatever it scores; nodes are lost
                one after the other; or a node that joined does not see the images.
        """
        for _ in range(NODES_LOST):
            self._start()
            try:
                scored = ray.get(self._actor.score_alone.remote(name, list(rows), self._images))
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
        known = next((part for part in self.run.parts("signals") if part.details["ok"]), None)
        if known is None:
            return False
        table = self.run.read_table(known.path, ["row", "status"])
        row = table.filter(pc.equal(table["status"], "ok"))["row"][0].as_py()
        self._start()
        try:
            ray.get(self._actor.score_alone.remote(known.name, [row], self._images))
        except DEATHS:
            self._actor = None
            return False
        return True

    def _start(self) -> None:
        if self._actor is not None:
            return
        cause: Exception | None = None
        for _ in range(NODES_LOST):
            actor = self._kind.remote(*self._arguments)
            try:
                self._node, self.width = ray.get(actor.place.remote())
                self._actor = actor
                return
            except DEATHS as error:
                cause = error
        raise ArdsError(f"the proxy's process died {NODES_LOST} times while it loaded the model: {cause}")


def score_alone(proxy: LoneProxy, name: str, rows: Sequence[int]) -> dict[str, Any]:
    """Score a shard whose process died, and write its part.

    The whole is tried first, in a process of its own. While a piece kills its process it is cut in halves; a single
    conversation that does so twice becomes a failed row.

    Args:
        proxy: Scores it.
        name: The shard.
        rows: Its rows that are to be scored.

    Returns:
        The counts of `score_shards`, and `killed`: how many conversations killed their process.
    """
    started = monotonic()
    pieces = [list(rows)]
    tables: list[pa.Table] = []
    killers: list[int] = []
    splits = deaths = 0
    while pieces:
        piece = pieces.pop(0)
        scored = proxy.score(name, piece)
        if scored is not None:
            tables.append(scored[0])
            splits += scored[1]
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
    table = pa.concat_tables([*tables, killed_rows(killers, proxy.width)])
    write_signals(proxy.run, proxy.settings, name, table, proxy.stage, started, splits)
    return {"name": name, "conversations": table.num_rows, "killed": len(killers)}
