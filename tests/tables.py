"""Reading what a run wrote."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

SIGNALS = ("clean", "vectors", "corrupted")


def read_table(run: Path, table: str) -> pa.Table:
    """A whole table of a run, by row where it has rows."""
    content = pads.dataset(sorted((run / table).glob("part-*.parquet"))).to_table()
    return content.sort_by("row")


def read_signals(run: Path) -> pa.Table:
    """The signals of a run side by side, by row; a conversation failed where one of its signals did."""
    tables = [read_table(run, f"signals/{name}") for name in SIGNALS if (run / "signals" / name).exists()]
    rows = tables[0]["row"]
    tables = [table.take(pc.index_in(rows, table["row"])) for table in tables]
    error = pc.coalesce(*(table["error"] for table in tables))
    columns = {"row": rows, "status": pc.if_else(pc.is_valid(error), "failed", "ok"), "error": error}
    for table in tables:
        columns |= {name: table[name] for name in table.column_names if name not in columns}
    return pa.table(columns)


def read_entries(run: Path) -> list[dict[str, Any]]:
    """The manifest's entries, those of parts gathered in a file for each table."""
    contents = [json.loads(file.read_text()) for file in sorted((run / "manifest").rglob("*.json"))]
    return [entry for content in contents for entry in (content if isinstance(content, list) else [content])]


def change_entry(run: Path, path: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Change the manifest's entry of a file, or remove it where the change gives nothing."""
    file = (run / "manifest" / path).with_suffix(".json")
    if file.exists():
        entry = change(json.loads(file.read_text()))
        file.unlink() if entry is None else file.write_text(json.dumps(entry))
        return
    gathered = file.with_name("parts.json")
    entries = json.loads(gathered.read_text())
    assert path in [entry["path"] for entry in entries]
    changed = [change(entry) if entry["path"] == path else entry for entry in entries]
    gathered.write_text(json.dumps([entry for entry in changed if entry is not None]))


def remove_entry(run: Path, path: str) -> None:
    change_entry(run, path, lambda entry: None)


def vectors_in(column: pa.ChunkedArray) -> np.ndarray:
    """The vectors of a column without nulls, [n, width]."""
    return np.array(column.to_pylist())


def read_summary(run: Path, method: str = "ards") -> dict[str, Any]:
    return json.loads((run / "methods" / method / "summary.json").read_text())


def times(run: Path, *folders: str) -> dict[str, int]:
    """When each file of a run, or of some of its folders, was last written; config.yaml, the last start's, left out."""
    files = (path for path in run.rglob("*") if path.is_file() and path.name != "config.yaml")
    stamps = {str(path.relative_to(run)): path.stat().st_mtime_ns for path in files}
    return {
        name: stamp
        for name, stamp in stamps.items()
        if not folders or name.startswith(tuple(f"{folder}/" for folder in folders))
    }
