"""Reading what a run wrote."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads


def read_table(run: Path, table: str) -> pa.Table:
    """A whole table of a run, by row where it has rows."""
    content = pads.dataset(sorted((run / table).glob("part-*.parquet"))).to_table()
    return content.sort_by("row")


def read_summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())
