"""Tables: what the manifest notes of a part comes back typed, or is refused by name."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ards_ray.errors import ArdsError
from ards_ray.run.directory import RunDirectory
from ards_ray.run.table import NoDetails, Table


@dataclass(frozen=True)
class Details:
    ok: int
    formats: dict[str, int] = field(default_factory=dict)


SCHEMA = pa.schema([("row", pa.int64())])
PARTS = Table("methods/ards/scores", lambda width: SCHEMA, Details)
SINGLE = Table("methods/ards/scores", lambda width: SCHEMA, NoDetails, "center")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(str(tmp_path / "run"))
    made.prepare()
    return made


def rows(count: int = 3) -> pa.Table:
    return pa.table({"row": range(count)}, schema=SCHEMA)


def entry_of(run: RunDirectory, name: str) -> Path:
    (found,) = (path for path in Path(run.url, "manifest").rglob("*.json") if path.stem.endswith(name))
    return found


def test_details_come_back_as_they_were(run: RunDirectory) -> None:
    """Later stages count with them without opening the part."""
    details = [Details(3, {"é": 1}), Details(0)]
    written = [PARTS.write(run, f"part-0000{n}", rows(n), "stamp", 0.0, one) for n, one in enumerate(details)]
    SINGLE.write(run, "center", rows(), "stamp", 0.0, NoDetails())
    assert PARTS.parts(run) == written
    assert [part.details for part in PARTS.parts(run)] == details
    assert PARTS.part(run, "part-00001") == written[1]
    assert PARTS.part(run, "part-00002") is None
    assert PARTS.read(run, "part-00001", ["row"]).equals(rows(1))


def test_tables_of_one_folder_are_told_apart(run: RunDirectory) -> None:
    """`verify` checks each file against the schema of the table that it belongs to."""
    assert PARTS.owns(PARTS.path("part-00003"))
    assert not PARTS.owns(SINGLE.path("center"))
    assert SINGLE.owns(SINGLE.path("center"))
    assert not SINGLE.owns("methods/ards/subgroups/center.parquet")


def test_a_stage_that_begins_anew_discards_its_parts(run: RunDirectory) -> None:
    """Parts of other settings beside new ones would be read as one table."""
    for number, stamp in enumerate(("old", "new")):
        PARTS.write(run, f"part-0000{number}", rows(), stamp, 0.0, Details(1))
    PARTS.discard(run, keep="new")
    assert [part.name for part in PARTS.parts(run)] == ["part-00001"]
    PARTS.discard(run)
    assert PARTS.parts(run) == []


@pytest.mark.parametrize(
    ("noted", "problem"),
    [
        ({}, "'ok' is missing"),
        ({"ok": "3", "formats": {}}, "'ok' is missing or of the wrong type"),
        ({"ok": 3, "formats": []}, "'formats' is missing or of the wrong type"),
    ],
)
def test_damaged_details_name_their_part(run: RunDirectory, noted: dict[str, Any], problem: str) -> None:
    """Later stages take them for granted: a traceback would name none of the thousands of parts."""
    PARTS.write(run, "part-00000", rows(), "stamp", 0.0, Details(3))
    entry = entry_of(run, "part-00000")
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "details": noted}))
    with pytest.raises(ArdsError, match=rf"scores/part-00000.parquet is damaged \({problem}.*\); delete the file"):
        PARTS.parts(run)
