"""Reading what a run wrote."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads


def read_table(run: Path, table: str) -> pa.Table:
    """A whole table of a run, by row where it has rows."""
    content = pads.dataset(sorted((run / table).glob("part-*.parquet"))).to_table()
    return content.sort_by("row")


def vectors_in(column: pa.ChunkedArray) -> np.ndarray:
    """The vectors of a column without nulls, [n, width]."""
    return np.array(column.to_pylist())


def read_summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def times(run: Path, *tables: str) -> dict[str, int]:
    """When each file of a run, or of some of its tables, was last written; config.yaml, the last start's, left out."""
    files = (path for path in run.rglob("*") if path.is_file() and path.name != "config.yaml")
    stamps = {str(path.relative_to(run)): path.stat().st_mtime_ns for path in files}
    return {name: stamp for name, stamp in stamps.items() if not tables or name.split("/")[0] in tables}
