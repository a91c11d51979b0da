"""Columns of vectors."""

import numpy as np
import pyarrow as pa


def vector_column(vectors: np.ndarray, width: int) -> pa.FixedSizeListArray:
    """A column of vectors [n, width]; the numbers keep their type."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1)), width)


def vectors_of(column: pa.ChunkedArray) -> np.ndarray:
    """The numbers of a column of vectors without nulls, [n, width], without a copy where it has one chunk."""
    chunks = [chunk.flatten().to_numpy().reshape(len(chunk), -1) for chunk in column.chunks if len(chunk)]
    if not chunks:
        return np.empty((0, column.type.list_size), dtype=column.type.value_type.to_pandas_dtype())
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
