"""Clusters: centroids for each format from a sample, then the cluster of every scored conversation."""

from collections.abc import Sequence
from time import monotonic

import numpy as np
import pyarrow as pa

from ards_ray import schema
from ards_ray.arrays.kmeans import SAMPLE_PER_CENTROID, assign, cluster_count, train_centroids
from ards_ray.arrays.seeds import generator
from ards_ray.arrays.vectors import unit
from ards_ray.config import Settings
from ards_ray.corpus.formats import FORMATS
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.signals.vectors import read_scored, scored_vectors

CENTROIDS = "clusters/centroids.parquet"
CENTER = "clusters/center.parquet"


def total(parts: Sequence[Part], detail: str) -> dict[str, int]:
    """Rows of each format over the signals parts; `detail` is formats, scored or attacked."""
    sums = {name: sum(part.details[detail].get(name, 0) for part in parts) for name in FORMATS}
    return {name: count for name, count in sums.items() if count}


def formats_to_cluster(parts: Sequence[Part], settings: Settings) -> dict[str, int]:
    """The formats that can be corrupted, and the number of clusters of each, those with none left out."""
    if not settings.subgroups.cluster:
        return {}
    scored = total(parts, "scored")
    wanted = total(parts, "attacked") if settings.subgroups.perturb else [name for name in scored if name != "text"]
    counts = {name: cluster_count(scored[name], settings.subgroups.per_format) for name in wanted}
    return {name: count for name, count in counts.items() if count}


def sum_of_units(run: RunDirectory, part: Part) -> np.ndarray:
    """Sum of a part's unit vectors, float64 [d]."""
    sums = [unit(vectors).numpy().sum(axis=0, dtype=np.float64) for _, vectors in scored_vectors(run, part)]
    return sum(sums, np.zeros(part.details["width"]))


def sample_vectors(
    run: RunDirectory, parts: Sequence[Part], format: str, size: int, seed: int, center: np.ndarray | None
) -> np.ndarray:
    """A seeded sample of a format's vectors, float32 [at most size, d] of unit length.

    Whole parts are taken in a drawn order until there is enough: conversations are spread over the parts by the hash
    of their image, and opening some parts is much less than opening all of them for a row here and there.
    """
    holding = [part for part in parts if part.details["scored"].get(format)]
    order = generator(seed, "sample", format.encode()).permutation(len(holding))
    size = min(size, total(holding, "scored")[format])
    sample = np.empty((size, holding[0].details["width"]), np.float32)
    filled = 0
    for index in order:
        if filled == size:
            break
        for _, vectors in scored_vectors(run, holding[index], {format}):
            taken = vectors[: size - filled]
            sample[filled : filled + len(taken)] = unit(taken, center).numpy()
            filled += len(taken)
    return sample


def train_format(
    run: RunDirectory, parts: Sequence[Part], format: str, k: int, settings: Settings, center: np.ndarray | None
) -> np.ndarray:
    """Centroids of one format, float32 [k, d]."""
    sample = sample_vectors(run, parts, format, k * SAMPLE_PER_CENTROID, settings.seed, center)
    return train_centroids(sample, k, settings.seed)


def write_centroids(
    run: RunDirectory, centroids: dict[str, np.ndarray], width: int, stage: str, started: float
) -> None:
    rows = [(name, index, row) for name, block in centroids.items() for index, row in enumerate(block)]
    table = pa.Table.from_arrays(
        [
            pa.array([name for name, _, _ in rows], type=pa.string()),
            pa.array([index for _, index, _ in rows], type=pa.int16()),
            schema.vector_column(np.array([row for _, _, row in rows], dtype=np.float32).reshape(-1, width), width),
        ],
        schema=schema.centroids(width),
    )
    run.write_table(CENTROIDS, table, stage, started)


def read_centroids(run: RunDirectory) -> dict[str, np.ndarray]:
    """float32 [k, d] for each format."""
    table = run.read_table(CENTROIDS)
    formats = np.array(table["format"].to_pylist(), dtype=object)
    vectors = schema.vectors_of(table["centroid"])
    return {name: vectors[formats == name] for name in FORMATS if name in formats}


def write_center(run: RunDirectory, center: np.ndarray, stage: str, started: float) -> None:
    table = pa.table({"center": schema.vector_column(center.astype(np.float32)[None], len(center))})
    run.write_table(CENTER, table, stage, started)


def read_center(run: RunDirectory, settings: Settings) -> np.ndarray | None:
    """The corpus's mean unit vector, float32 [d], where vectors are centred."""
    return schema.vectors_of(run.read_table(CENTER)["center"])[0] if settings.vectors.center else None


def assign_parts(
    run: RunDirectory,
    name: str,
    signals: Sequence[Part],
    centroids: dict[str, np.ndarray],
    center: np.ndarray | None,
    stage: str,
) -> Part:
    """Write a clusters part: the scored rows of some signals parts, with the cluster of those whose format has any."""
    started = monotonic()
    table = pa.concat_tables([_assign_part(run, part, centroids, center) for part in signals]).combine_chunks()
    return run.write_table(f"clusters/{name}.parquet", table, stage, started)


def _assign_part(
    run: RunDirectory, part: Part, centroids: dict[str, np.ndarray], center: np.ndarray | None
) -> pa.Table:
    columns = ["row", "clean_loss", "corrupted_loss", "corrupted_correct"]
    rows = read_scored(run, part, columns)
    found = {
        name: pa.array(assign(vectors, centroids[name], center))
        for name, vectors in scored_vectors(run, part, centroids)
    }
    scored = part.details["scored"].items()
    values = {
        "format": pa.chunked_array([pa.repeat(name, count) for name, count in scored], type=pa.string()),
        "cluster": pa.chunked_array(
            [found.get(name, pa.nulls(count, pa.int16())) for name, count in scored], pa.int16()
        ),
        **{column: rows[column] for column in columns},
    }
    return pa.table([values[field.name] for field in schema.CLUSTERS], schema=schema.CLUSTERS)
