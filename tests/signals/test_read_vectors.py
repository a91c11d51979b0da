"""Conversation vectors are read from where the manifest says that they lie: they must be those of the Parquet file."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ards_ray.errors import ArdsError
from ards_ray.run import directory
from ards_ray.run.directory import RunDirectory
from ards_ray.run.vectors import vectors_of
from ards_ray.signals.read_vectors import VectorsPart, parts_of_places, places_of_scored, read_places, scored_vectors
from ards_ray.signals.signal import SignalDetails
from ards_ray.signals.vectors import VECTORS
from ards_ray.signals.write import write_part

# An odd number of bytes stands in front of the vectors sooner or later.
WIDTH = 6
FORMATS = ["choice"] * 3 + ["image"] * 4 + ["text"] * 2
FAILED = {1, 7, 8}


@pytest.fixture(params=["path", "object store"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunDirectory:
    url = str(tmp_path / "run") if request.param == "path" else f"memory://{tmp_path}/run"
    made = RunDirectory(url)
    made.prepare()
    return made


def write(run: RunDirectory, failed: set[int] = FAILED) -> tuple[VectorsPart, np.ndarray]:
    vectors = np.random.default_rng(3).standard_normal((len(FORMATS), WIDTH)).astype(np.float16)
    rows = [
        {"row": 10 + row, "status": "failed", "error": "x" * row}
        if row in failed
        else {"row": 10 + row, "status": "ok", "vector": vectors[row].tolist()}
        for row in range(len(FORMATS))
    ]
    table = pa.Table.from_pylist(rows, schema=VECTORS.table.schema(WIDTH)).append_column("format", pa.array(FORMATS))
    return write_part(run, VECTORS, "part-00000", table, "stamp", 0.0, SignalDetails()), vectors


def test_vectors_are_those_of_the_file(run: RunDirectory) -> None:
    """Bytes taken from another place would be vectors of nothing, and every score with them."""
    part, vectors = write(run)
    assert len(part.vectors) == 3
    found = dict(scored_vectors(run, part))
    assert list(found) == ["choice", "image"]
    np.testing.assert_array_equal(found["choice"], vectors[[0, 2]])
    np.testing.assert_array_equal(found["image"], vectors[3:7])
    column = run.read_table(part.path, ["vector"])["vector"].drop_null()
    np.testing.assert_array_equal(np.concatenate(list(found.values())), vectors_of(column))
    assert dict(scored_vectors(run, part, {"image"})).keys() == {"image"}


def test_places_are_those_among_scored_rows(run: RunDirectory) -> None:
    """Members are fetched by their place: one off, and a subgroup's reference is that of other conversations."""
    part, vectors = write(run)
    scored = [row for row in range(len(FORMATS)) if row not in FAILED]
    for places in ([5, 0, 3], [1], [0, 1, 2, 3, 4, 5]):
        np.testing.assert_array_equal(read_places(run, part, places), vectors[[scored[place] for place in places]])


def test_places_of_all_parts_lead_to_their_parts(run: RunDirectory) -> None:
    """A place that leads to a neighbouring part fetches another conversation's vector; some parts have none scored."""
    parts = [write(run, failed)[0] for failed in (set(range(9)), FAILED, set(range(9)), {0}, set())]
    expected = places_of_scored(parts)
    found = parts_of_places(parts, np.arange(sum(part.details.ok for part in parts)))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(parts_of_places(parts, np.array([6, 5, 22])), [[3, 1, 4], [0, 5, 8]])


def test_a_layout_that_is_not_known_is_decoded(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages as another writer would cut them: then the vectors come out of Parquet's own reader."""
    monkeypatch.setattr(directory, "PAGE_BYTES", 8)
    part, vectors = write(run, failed=set())
    assert part.vectors == []
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in scored_vectors(run, part)]), vectors)
    np.testing.assert_array_equal(read_places(run, part, [8, 2]), vectors[[8, 2]])


def test_another_file_in_its_place_is_told(run: RunDirectory) -> None:
    """A part that somebody rewrote has its vectors elsewhere; read from the old place they would be noise."""
    part, _ = write(run)
    content = run.read_bytes(part.path)
    run.write_bytes(part.path, content[:-5])
    with pytest.raises(ArdsError, match="the manifest says"):
        list(scored_vectors(run, part))
