"""Columns of the tables after the corpus, as arrays whose index is the row of the corpus."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.corpus.formats import FORMATS
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.run.table import Table

PARTS_AT_A_TIME = 64
PLACE = "place"


def tables(run: RunDirectory, parts: Sequence[Part], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Read some columns of many parts in their order, some parts at a time."""
    for first in range(0, len(parts), PARTS_AT_A_TIME):
        yield run.read_columns(parts[first : first + PARTS_AT_A_TIME], columns)


def read_by_row(
    run: RunDirectory, table: Table, columns: Sequence[str], size: int, parts: Sequence[Part] | None = None
) -> dict[str, np.ndarray]:
    """Read columns of a table into arrays [size], one element for each row of the corpus.

    A format becomes its index in `FORMATS`, int8, and any other text whether there is one, bool. `PLACE` is where the
    row stands among all rows of the parts. Where the table has no such row, or a null there, whole numbers are -1,
    others NaN, truth values True and texts False.

    Args:
        run: The run.
        table: The table, with a column `row`.
        columns: Names of its columns, and `PLACE`.
        size: Conversations of the corpus.
        parts: Its parts, if not all of them.
    """
    kinds = {name: _kind(table.schema(1), name) for name in columns}
    arrays = {name: np.full(size, missing) for name, (missing, _) in kinds.items()}
    first = 0
    names = ["row", *(name for name in columns if name != PLACE)]
    for some in tables(run, table.parts(run) if parts is None else parts, names):
        rows = some["row"].to_numpy()
        for name, (missing, numbers) in kinds.items():
            if name == PLACE:
                arrays[name][rows] = np.arange(first, first + len(rows))
            else:
                arrays[name][rows] = numbers(some[name]).fill_null(missing.item()).to_numpy()
        first += len(rows)
    return arrays


def _kind(schema: pa.Schema, name: str) -> tuple[np.generic, Callable[[pa.ChunkedArray], pa.ChunkedArray]]:
    """What stands for a missing value of a column, whose type is the array's, and how the column becomes numbers."""
    if name == PLACE:
        return np.int32(-1), _same
    if name == "format":
        return np.int8(-1), _format_codes
    kind = schema.field(name).type
    if pa.types.is_string(kind):
        return np.False_, _is_there
    if pa.types.is_boolean(kind):
        return np.True_, _same
    dtype = np.dtype(kind.to_pandas_dtype())
    return dtype.type(np.nan if dtype.kind == "f" else -1), _same


def _same(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column


def _is_there(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_valid(column)


def _format_codes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.index_in(column, pa.array(FORMATS))
