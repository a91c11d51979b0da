"""Columns by row: a value in another row's place is another conversation's cluster, loss or score."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ards_ray.corpus import columns
from ards_ray.corpus.columns import PLACE, read_by_row
from ards_ray.corpus.formats import FORMATS
from ards_ray.methods.ards.clusters import CLUSTERS
from ards_ray.run.directory import RunDirectory
from ards_ray.run.table import NoDetails

ROWS = [[7, 1], [0, 4, 3]]
SIZE = 9
NAMES = ("format", "cluster", "clean_loss", "corrupted_loss", "corrupted_correct")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Clusters of five of nine conversations: the value in each column tells the row; row 3 could not be corrupted."""
    made = RunDirectory(str(tmp_path / "run"))
    made.prepare()
    for number, rows in enumerate(ROWS):
        values = [
            {
                "row": row,
                "format": FORMATS[row % len(FORMATS)],
                "cluster": None if row == 3 else 10 * row,
                "clean_loss": row + 0.5,
                "corrupted_loss": None if row == 3 else row + 0.25,
                "corrupted_correct": None if row == 3 else row == 4,
            }
            for row in rows
        ]
        table = pa.Table.from_pylist(values, schema=CLUSTERS.schema(0))
        CLUSTERS.write(made, f"part-{number:05d}", table, "stamp", 0.0, NoDetails())
    return made


@pytest.mark.parametrize("at_a_time", [1, 64])
def test_every_value_stands_at_its_row(run: RunDirectory, monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    """Parts are in the order of shards, and what follows counts on the order of the corpus."""
    monkeypatch.setattr(columns, "PARTS_AT_A_TIME", at_a_time)
    found = read_by_row(run, CLUSTERS, (PLACE, *NAMES), SIZE)
    assert all(len(array) == SIZE for array in found.values())
    for row in (7, 1, 0, 4):
        assert FORMATS[found["format"][row]] == FORMATS[row % len(FORMATS)]
        assert found["cluster"][row] == 10 * row
        assert found["clean_loss"][row] == row + 0.5
        assert found["corrupted_loss"][row] == row + 0.25
        assert found["corrupted_correct"][row] == (row == 4)
    assert [found[PLACE][row] for row in (7, 1, 0, 4, 3)] == [0, 1, 2, 3, 4]


def test_what_is_missing_is_told_from_every_value(run: RunDirectory) -> None:
    """A failed conversation taken for one of the first format, cluster 0, could become a member."""
    found = read_by_row(run, CLUSTERS, (PLACE, *NAMES), SIZE)
    failed = [2, 5, 6, 8]
    assert (found["format"][failed] == -1).all()
    assert (found[PLACE][failed] == -1).all()
    assert (found["cluster"][[3, *failed]] == -1).all()
    assert np.isnan(found["clean_loss"][failed]).all()
    assert np.isnan(found["corrupted_loss"][[3, *failed]]).all()
    assert found["corrupted_correct"][[3, *failed]].all()


def test_a_conversation_takes_a_few_bytes(run: RunDirectory) -> None:
    """The driver holds these arrays for the whole corpus: with ten million conversations each byte is ten megabytes."""
    found = read_by_row(run, CLUSTERS, (PLACE, *NAMES), SIZE)
    assert sum(array.itemsize for array in found.values()) == 16
