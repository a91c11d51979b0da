"""The Arrow schema of every table in a run directory."""

import numpy as np
import pyarrow as pa

CONVERSATIONS = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("images", pa.list_(pa.string()), nullable=False),
        pa.field("record", pa.large_string(), nullable=False),
    ]
)


def signals(width: int) -> pa.Schema:
    """The signals table; `width` numbers in a conversation vector."""
    return pa.schema(
        [
            pa.field("row", pa.int64(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            pa.field("error", pa.string()),
            pa.field("vector", pa.list_(pa.float16(), width)),
            pa.field("clean_loss", pa.float32()),
            pa.field("corrupted_loss", pa.float32()),
            pa.field("clean_correct", pa.bool_()),
            pa.field("corrupted_correct", pa.bool_()),
            pa.field("corruption", pa.string()),
            pa.field("target_tokens", pa.int32()),
            pa.field("sequence_length", pa.int32()),
            pa.field("content", pa.binary(32)),
        ]
    )


CLUSTERS = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("cluster", pa.int16()),
        pa.field("clean_loss", pa.float32(), nullable=False),
        pa.field("corrupted_loss", pa.float32()),
        pa.field("corrupted_correct", pa.bool_()),
    ]
)


def centroids(width: int) -> pa.Schema:
    """Centroids of the clusters."""
    return pa.schema(
        [
            pa.field("format", pa.string(), nullable=False),
            pa.field("cluster", pa.int16(), nullable=False),
            pa.field("centroid", pa.list_(pa.float32(), width), nullable=False),
        ]
    )


def subgroups(width: int) -> pa.Schema:
    """The worst-case evaluation subgroups."""
    return pa.schema(
        [
            pa.field("subgroup", pa.string(), nullable=False),
            pa.field("format", pa.string()),
            pa.field("size", pa.int64(), nullable=False),
            pa.field("members", pa.int32(), nullable=False),
            pa.field("loss", pa.float64(), nullable=False),
            pa.field("weight", pa.float64(), nullable=False),
            pa.field("centroid", pa.list_(pa.float32(), width)),
            pa.field("mean_member", pa.list_(pa.float32(), width), nullable=False),
        ]
    )


def members(width: int) -> pa.Schema:
    """Members of the subgroups."""
    return pa.schema(
        [
            pa.field("subgroup", pa.string(), nullable=False),
            pa.field("rank", pa.int32(), nullable=False),
            pa.field("row", pa.int64(), nullable=False),
            pa.field("version", pa.string(), nullable=False),
            pa.field("loss_gap", pa.float32()),
            pa.field("clean_loss", pa.float32(), nullable=False),
            pa.field("corrupted_loss", pa.float32()),
            pa.field("vector", pa.list_(pa.float16(), width), nullable=False),
        ]
    )


SCORES = pa.schema([pa.field("row", pa.int64(), nullable=False), pa.field("score", pa.float32(), nullable=False)])

INFORMATION = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("subgroup", pa.string()),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("member", pa.bool_(), nullable=False),
        pa.field("selected", pa.bool_(), nullable=False),
    ]
)


def vector_column(vectors: np.ndarray, width: int) -> pa.FixedSizeListArray:
    """A column of vectors [n, width]; the numbers keep their type."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1)), width)


def vectors_of(column: pa.ChunkedArray) -> np.ndarray:
    """The numbers of a column of vectors without nulls, [n, width], without a copy where it has one chunk."""
    chunks = [chunk.flatten().to_numpy().reshape(len(chunk), -1) for chunk in column.chunks if len(chunk)]
    if not chunks:
        return np.empty((0, column.type.list_size), dtype=column.type.value_type.to_pandas_dtype())
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
