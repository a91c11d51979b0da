"""Shards whose conversations kill the process that scores them: real processes, with a rule in the proxy's place."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray

from ards_ray.cluster import isolate, suspects
from ards_ray.cluster.resources import Pool
from ards_ray.config import Settings
from ards_ray.corpus.table import CONVERSATIONS, ConversationsDetails
from ards_ray.errors import ArdsError
from ards_ray.run.directory import RunDirectory
from ards_ray.run.workers import Wanted
from ards_ray.signals.clean import CLEAN
from ards_ray.signals.work import SignalWork
from ards_ray.signals.write import ShardRows, write_shard

STAGE = "stage"
ROWS = range(5)
# Of a shard that was scored before.
SCORED = range(100, 102)


def proxy(is_deadly: Callable[[int], bool]) -> type:
    """A proxy actor whose losses are all 1, and that dies of some rows."""
    # Made here: what makes them takes seconds to import.
    tables = {row: scored([row]) for row in (*ROWS, *SCORED)}

    # Within a function: so it travels to the process by value.
    class Fragile:
        def __init__(self, *arguments: Any):
            pass

        def load(self) -> tuple[str, int]:
            return ray.get_runtime_context().get_node_id(), 0

        def score_rows(self, name: str, wanted: Wanted) -> ShardRows:
            rows = wanted["clean"]
            if any(map(is_deadly, rows)):
                os._exit(1)
            return ShardRows({"clean": pa.concat_tables([tables[row] for row in rows])}, 0, {})

    return Fragile


def scored(rows: Any) -> pa.Table:
    fine = {"status": "ok", "clean_loss": 1.0}
    return pa.Table.from_pylist([{"row": row, **fine} for row in rows], schema=CLEAN.table.schema(0))


def work_on(run: RunDirectory) -> SignalWork:
    return SignalWork(run.url, Settings(), "", {"clean": STAGE})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with a shard that is to be scored, and one that was."""
    run = RunDirectory(str(tmp_path))
    for name, rows in (("part-00000", ROWS), ("part-00001", SCORED)):
        rest = {"format": "text", "images": [], "source": "a.json"}
        conversations = pa.Table.from_pylist([{"row": row, **rest} for row in rows])
        CONVERSATIONS.write(run, name, conversations, "", 0.0, ConversationsDetails({"text": len(rows)}, ["a.json"]))
    write_shard(work_on(run), "part-00001", ShardRows({"clean": scored(SCORED)}, 0, {}), 0.0)
    return run


def scored_again(run: RunDirectory) -> list[str]:
    """What is said about the shard while it is scored."""
    said: list[str] = []
    pool = Pool(1, cpus=1, gpus=0)
    rows = suspects.score_suspects(work_on(run), {"part-00000": {"clean": None}}, pool, said.append)
    assert list(rows) == [{"name": "part-00000", "conversations": len(ROWS)}]
    return said


def test_many_killers_in_a_row_end_nothing(local_ray: None, run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen conversations about one picture lie in one shard: the job would end there at every start."""
    monkeypatch.setattr(isolate, "DEATHS_IN_A_ROW", 3)
    monkeypatch.setattr(suspects, "ProxyActor", proxy(lambda row: 2 <= row < 4))
    assert scored_again(run)[-1] == "part-00000: 2 of its conversations kill the process that scores them."
    rows = run.read_columns(CLEAN.table.parts(run), ["row", "status"]).to_pylist()
    found = {row["row"]: row["status"] for row in rows}
    assert {row for row, status in found.items() if status == "failed"} == {2, 3}
    assert found.keys() == {*ROWS, *SCORED}


def test_a_proxy_that_dies_of_everything_ends_the_job(
    local_ray: None, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a broken driver every conversation would be called deadly, one after the other."""
    monkeypatch.setattr(isolate, "DEATHS_IN_A_ROW", 4)
    monkeypatch.setattr(suspects, "ProxyActor", proxy(lambda row: True))
    with pytest.raises(ArdsError, match="died 4 times in a row, whatever it was given"):
        scored_again(run)
    assert [part.name for part in CLEAN.table.parts(run)] == ["part-00001"]
