"""The mixture's records: those of the chosen conversations, once each, in the order of the corpus."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ards_ray.corpus import columns
from ards_ray.corpus.columns import tables
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.mixture import records
from ards_ray.mixture.records import records_in_order
from ards_ray.run.directory import RunDirectory

ROWS = 40


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Conversations in seven parts, spread over them at random as shards are."""
    made = RunDirectory(str(tmp_path / "run"))
    made.prepare()
    for number, rows in enumerate(np.array_split(np.random.default_rng(5).permutation(ROWS), 7)):
        values = [
            {"row": row, "id": "x", "source": "c.json", "format": "text", "images": [], "record": record(row)}
            for row in np.sort(rows).tolist()
        ]
        table = pa.Table.from_pylist(values, schema=CONVERSATIONS.schema(0))
        made.write_table(
            f"conversations/part-{number:05d}.parquet", table, "stamp", 0.0, {"formats": {"text": len(rows)}}
        )
    return made


def record(row: int) -> str:
    return json.dumps({"row": row, "text": "é" * (row % 7)}, ensure_ascii=False)


@pytest.mark.parametrize("chosen", [[], [0], [39], [3, 4, 5, 17, 30, 31, 38], list(range(ROWS))])
@pytest.mark.parametrize(("buckets", "smallest", "batch"), [(128, 10_000, 1000), (3, 1, 2), (128, 1, 1), (2, 5, 3)])
def test_records_are_in_corpus_order(
    run: RunDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: list[int],
    buckets: int,
    smallest: int,
    batch: int,
) -> None:
    """However they are spread over files: a record lost or doubled at a border is one that is trained on or not."""
    monkeypatch.setattr(columns, "PARTS_AT_A_TIME", 2)
    monkeypatch.setattr(records, "BUCKETS", buckets)
    monkeypatch.setattr(records, "SMALLEST_BUCKET", smallest)
    monkeypatch.setattr(records, "BATCH_ROWS", batch)
    selected = np.isin(np.arange(ROWS), chosen)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    conversations = tables(run, run.parts("conversations"), ["row", "format", "record"])
    found = records_in_order(conversations, selected, scratch)
    assert [text for some in found for text in some.to_pylist()] == [record(row) for row in chosen]
    assert not list(scratch.iterdir())
