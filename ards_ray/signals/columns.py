"""Columns of the tables after the signals, as arrays whose index is the row of the corpus."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.corpus.formats import FORMATS
from ards_ray.run.directory import Part, RunDirectory

PARTS_AT_A_TIME = 64
PLACE = "place"
CORRUPTIBLE = "corruption"
# What stands for a null, and for a row that the table does not have; its type is the array's.
_MISSING: dict[str, Any] = {
    PLACE: np.int32(-1),
    "format": np.int8(-1),
    "cluster": np.int16(-1),
    "clean_loss": np.float32(np.nan),
    "corrupted_loss": np.float32(np.nan),
    "corrupted_correct": np.True_,
    "score": np.float32(np.nan),
    CORRUPTIBLE: np.False_,
}


def tables(run: RunDirectory, parts: Sequence[Part], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Read some columns of many parts in their order, some parts at a time."""
    for first in range(0, len(parts), PARTS_AT_A_TIME):
        yield run.read_columns(parts[first : first + PARTS_AT_A_TIME], columns)


def read_by_row(run: RunDirectory, parts: Sequence[Part], columns: Sequence[str], size: int) -> dict[str, np.ndarray]:
    """Read columns of a table into arrays [size], one element for each row of the corpus.

    A format becomes its index in `FORMATS`, a corruption whether there is one. `PLACE` is where the row stands among
    all rows of the parts. Nulls and rows that the table lacks are -1, NaN, or for `corrupted_correct` True.

    Args:
        run: The run.
        parts: Parts of the clusters or scores table.
        columns: Names of its columns, and `PLACE`.
        size: Conversations of the corpus.
    """
    arrays = {name: np.full(size, _MISSING[name]) for name in columns}
    first = 0
    for table in tables(run, parts, ["row", *(name for name in columns if name != PLACE)]):
        rows = table["row"].to_numpy()
        for name, array in arrays.items():
            array[rows] = np.arange(first, first + len(rows)) if name == PLACE else _numbers(table[name], name)
        first += len(rows)
    return arrays


def _numbers(column: pa.ChunkedArray, name: str) -> np.ndarray:
    if name == "format":
        column = pc.index_in(column, pa.array(FORMATS))
    if name == CORRUPTIBLE:
        column = column.is_valid()
    return column.fill_null(_MISSING[name].item()).to_numpy()
