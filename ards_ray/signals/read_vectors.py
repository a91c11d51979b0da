"""Reading conversation vectors out of their table."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.run.directory import Part, RunDirectory
from ards_ray.run.entry import Details
from ards_ray.run.vectors import vectors_of
from ards_ray.signals.signal import OK, SignalDetails

VectorsPart = Part[SignalDetails]
GROUP = 16
HALF_BYTES = 2


def grouped(parts: Sequence[Part[Details]]) -> dict[str, Sequence[Part[Details]]]:
    """Neighbouring parts of shards, by the name of the part of a later table that holds what is made of them.

    A part of some kilobytes for each would cost more to write and to read than to compute.
    """
    starts = range(0, len(parts), GROUP)
    return {f"part-{number:05d}": parts[start : start + GROUP] for number, start in enumerate(starts)}


def read_scored(run: RunDirectory, part: VectorsPart, columns: list[str]) -> pa.Table:
    """The rows with a vector, format after format, as many of each as the part's detail `scored` tells."""
    if not part.details.failed:
        return run.read_table(part.path, columns)
    table = run.read_table(part.path, [*columns, "status"])
    return table.filter(pc.equal(table["status"], OK)).drop_columns(["status"])


def scored_vectors(
    run: RunDirectory, part: VectorsPart, formats: Collection[str] | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Vectors float16 [n, d] of the scored rows of each format, or of some formats, in the order of `read_scored`.

    They are taken from where the manifest says that they lie: decoding Parquet's lists, whose levels are coded for
    each single number, takes several times as long as everything that is done with the numbers.
    """
    counts = part.details.scored
    wanted = [
        (group, name)
        for group, name in enumerate(part.details.formats)
        if name in counts and (formats is None or name in formats)
    ]
    if not part.vectors:
        with run.open_table(part.path) as table:
            for group, name in wanted:
                column = table.read_row_group(group, columns=["vector"], use_threads=False)["vector"]
                yield name, vectors_of(column.drop_null())
        return
    width = part.details.width
    with run.open_bytes(part) as file:
        for group, name in wanted:
            file.seek(part.vectors[group])
            numbers = file.read_buffer(counts[name] * width * HALF_BYTES)
            yield name, np.frombuffer(numbers, np.float16).reshape(counts[name], width)


def read_places(run: RunDirectory, part: VectorsPart, places: Sequence[int]) -> np.ndarray:
    """Vectors float16 [n, d] of some scored rows of a part.

    Args:
        run: The run.
        part: A signals part.
        places: Where they stand among the part's scored rows (`read_scored`).
    """
    starts = np.cumsum([0, *part.details.scored.values()])
    owners = np.searchsorted(starts, places, side="right") - 1
    names = list(part.details.scored)
    width = part.details.width
    vectors = np.empty((len(places), width), np.float16)
    if part.vectors:
        groups = [part.vectors[list(part.details.formats).index(name)] for name in names]
        with run.open_bytes(part) as file:
            for index, (place, owner) in enumerate(zip(places, owners, strict=True)):
                file.seek(int(groups[owner] + (place - starts[owner]) * width * HALF_BYTES))
                vectors[index] = np.frombuffer(file.read_buffer(width * HALF_BYTES), np.float16)
        return vectors
    for name, rows in scored_vectors(run, part, {names[owner] for owner in owners}):
        number = names.index(name)
        mine = np.flatnonzero(owners == number)
        vectors[mine] = rows[np.asarray(places)[mine] - starts[number]]
    return vectors


def places_of_scored(parts: Sequence[VectorsPart]) -> tuple[np.ndarray, np.ndarray]:
    """Of all scored rows of some parts, in their order: the index of the part, and the place in it (`read_scored`)."""
    sizes = np.array([part.details.ok for part in parts], dtype=np.int64)
    owners = np.repeat(np.arange(len(parts)), sizes)
    return owners, np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def parts_of_places(parts: Sequence[VectorsPart], places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of places among all scored rows of some parts: the index of the part, and the place in it (`read_scored`)."""
    ends = np.cumsum([part.details.ok for part in parts])
    owners = np.searchsorted(ends, places, side="right")
    return owners, places - np.concatenate([[0], ends])[owners]
