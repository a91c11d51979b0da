"""Reading conversation vectors out of the signals."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray import schema
from ards_ray.run.directory import Part, RunDirectory

GROUP = 16


def grouped(signals: Sequence[Part]) -> dict[str, Sequence[Part]]:
    """Neighbouring signals parts, by the name of the part of a later table that holds what is made of them.

    A part of some kilobytes for each would cost more to write and to read than to compute.
    """
    starts = range(0, len(signals), GROUP)
    return {f"part-{number:05d}": signals[start : start + GROUP] for number, start in enumerate(starts)}


def read_format(run: RunDirectory, part: Part, format: str, columns: list[str]) -> pa.Table:
    """The scored rows of one format in a signals part: one row group of the file."""
    group = list(part.details["formats"]).index(format)
    with run.open_table(part.path) as file:
        return _scored(part, file.read_row_group(group, columns=[*columns, "status"], use_threads=False))


def read_scored(run: RunDirectory, part: Part, columns: list[str]) -> pa.Table:
    """The scored rows of a signals part, format after format, as many of each as its detail `scored` tells."""
    return _scored(part, run.read_table(part.path, [*columns, "status"]))


def _scored(part: Part, table: pa.Table) -> pa.Table:
    if part.details["failed"]:
        table = table.filter(pc.equal(table["status"], "ok"))
    return table.drop_columns(["status"])


def read_vectors(run: RunDirectory, part: Part, format: str) -> np.ndarray:
    """Vectors float16 [n, d] of the scored rows of one format in a signals part, in row order."""
    return schema.vectors_of(read_format(run, part, format, ["vector"])["vector"])


def read_rows(run: RunDirectory, part: Part, rows: Mapping[str, Collection[int]]) -> dict[int, np.ndarray]:
    """Vectors float16 [d] of some rows of a signals part, given by format."""
    vectors: dict[int, np.ndarray] = {}
    for name, wanted in rows.items():
        table = read_format(run, part, name, ["row", "vector"])
        table = table.filter(pc.is_in(table["row"], pa.array(sorted(wanted), type=pa.int64())))
        vectors.update(zip(table["row"].to_pylist(), schema.vectors_of(table["vector"]), strict=True))
    return vectors
