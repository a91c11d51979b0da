"""Clusters: centroids for each format from a sample, then the cluster of every conversation with a vector."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import monotonic

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.arrays.kmeans import SAMPLE_PER_CENTROID, SMALLEST_CLUSTER, assign, cluster_count, train_centroids
from ards_ray.arrays.seeds import generator
from ards_ray.arrays.vectors import unit
from ards_ray.config import Settings
from ards_ray.corpus.formats import FORMATS
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.run.entry import Details
from ards_ray.run.progress import StageProgress
from ards_ray.run.stage import Job
from ards_ray.run.table import NoDetails, Table
from ards_ray.run.vectors import vector_column, vectors_of
from ards_ray.run.workers import Row
from ards_ray.signals.clean import CLEAN
from ards_ray.signals.compute import SignalPart
from ards_ray.signals.corrupted import CORRUPTED
from ards_ray.signals.read_vectors import VectorsPart, grouped, read_scored, scored_vectors
from ards_ray.signals.signal import Signal
from ards_ray.signals.vectors import VECTORS

CLUSTERS_FOLDER = "methods/ards/clusters"
CLUSTERS = Table(
    CLUSTERS_FOLDER,
    lambda width: pa.schema(
        [
            pa.field("row", pa.int64(), nullable=False),
            pa.field("format", pa.string(), nullable=False),
            pa.field("cluster", pa.int16()),
            pa.field("clean_loss", pa.float32()),
            pa.field("corrupted_loss", pa.float32()),
            pa.field("corrupted_correct", pa.bool_()),
        ]
    ),
    NoDetails,
    rows_of="vectors",
)
CENTROIDS = Table(
    CLUSTERS_FOLDER,
    lambda width: pa.schema(
        [
            pa.field("format", pa.string(), nullable=False),
            pa.field("cluster", pa.int16(), nullable=False),
            pa.field("centroid", pa.list_(pa.float32(), width), nullable=False),
        ]
    ),
    NoDetails,
    "centroids",
)
CENTER = Table(
    CLUSTERS_FOLDER,
    lambda width: pa.schema([("center", pa.list_(pa.float32(), width))]),
    NoDetails,
    "center",
    optional=True,
)
LOSSES = ("corrupted_loss", "corrupted_correct")


def cells(formats: np.ndarray, clusters: np.ndarray) -> Iterator[tuple[str, int, np.ndarray]]:
    """The clusters that are large enough for a subgroup: format, number and rows in their order, int64.

    Args:
        formats: int8 [conversations], indices into `FORMATS`; -1 for conversations that do not count.
        clusters: int16 [conversations]; -1 for those without a cluster.
    """
    for code, format in enumerate(FORMATS):
        of_format = np.flatnonzero(formats == code)
        of_cluster = clusters[of_format]
        for cluster in range(int(of_cluster.max(initial=-1)) + 1):
            rows = of_format[of_cluster == cluster]
            if len(rows) >= SMALLEST_CLUSTER:
                yield format, cluster, rows


def asks_corrupted(settings: Settings) -> bool:
    """Whether corrupted losses of all conversations are there before the clusters are."""
    return settings.subgroups.run is None and not draws_candidates(settings)


def draws_candidates(settings: Settings) -> bool:
    """Whether corrupted losses are computed of drawn candidates alone, once their clusters are known."""
    subgroups = settings.subgroups
    return subgroups.run is None and subgroups.perturb and subgroups.candidates != "all"


def total(parts: Sequence[SignalPart]) -> dict[str, int]:
    """Rows of each format that have a signal, over the signal's parts."""
    sums = {name: sum(part.details.scored.get(name, 0) for part in parts) for name in FORMATS}
    return {name: count for name, count in sums.items() if count}


def clusters_of_formats(scored: Mapping[str, int], attacked: Iterable[str], settings: Settings) -> dict[str, int]:
    """The number of clusters of each format that can be corrupted, those with none left out.

    Args:
        scored: Conversations with a vector, by format.
        attacked: The formats of which something can be corrupted.
        settings: The run's settings.
    """
    if not settings.subgroups.cluster:
        return {}
    wanted = attacked if settings.subgroups.perturb else [name for name in scored if name != "text"]
    counts = {name: cluster_count(scored.get(name, 0), settings.subgroups.per_format) for name in wanted}
    return {name: count for name, count in counts.items() if count}


def sum_of_units(run: RunDirectory, part: VectorsPart) -> np.ndarray:
    """Sum of a part's unit vectors, float64 [d]."""
    sums = [unit(vectors).numpy().sum(axis=0, dtype=np.float64) for _, vectors in scored_vectors(run, part)]
    return sum(sums, np.zeros(part.details.width))


def sample_vectors(
    run: RunDirectory, parts: Sequence[VectorsPart], format: str, size: int, seed: int, center: np.ndarray | None
) -> np.ndarray:
    """A seeded sample of a format's vectors, float32 [at most size, d] of unit length.

    Whole parts are taken in a drawn order until there is enough: conversations are spread over the parts by the hash
    of their image, and opening some parts is much less than opening all of them for a row here and there.
    """
    holding = [part for part in parts if part.details.scored.get(format)]
    order = generator(seed, "sample", format.encode()).permutation(len(holding))
    size = min(size, total(holding)[format])
    sample = np.empty((size, holding[0].details.width), np.float32)
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
    run: RunDirectory, parts: Sequence[VectorsPart], format: str, k: int, settings: Settings, center: np.ndarray | None
) -> np.ndarray:
    """Centroids of one format, float32 [k, d]."""
    sample = sample_vectors(run, parts, format, k * SAMPLE_PER_CENTROID, settings.seed, center)
    return train_centroids(sample, k, settings.seed)


def write_centroids(
    run: RunDirectory, centroids: Mapping[str, np.ndarray], width: int, stage: str, started: float
) -> None:
    """Write centroids, float32 [k, width] for each format."""
    rows = [(name, index, row) for name, block in centroids.items() for index, row in enumerate(block)]
    table = pa.Table.from_arrays(
        [
            pa.array([name for name, _, _ in rows], type=pa.string()),
            pa.array([index for _, index, _ in rows], type=pa.int16()),
            vector_column(np.array([row for _, _, row in rows], dtype=np.float32).reshape(-1, width), width),
        ],
        schema=CENTROIDS.schema(width),
    )
    CENTROIDS.write(run, CENTROIDS.name, table, stage, started, NoDetails())


def read_centroids(run: RunDirectory) -> dict[str, np.ndarray]:
    """float32 [k, d] for each format."""
    table = CENTROIDS.read(run, CENTROIDS.name)
    formats = np.array(table["format"].to_pylist(), dtype=object)
    vectors = vectors_of(table["centroid"])
    return {name: vectors[formats == name] for name in FORMATS if name in formats}


def write_center(run: RunDirectory, center: np.ndarray, stage: str, started: float) -> None:
    """Write the corpus's mean unit vector, float32 [d]."""
    table = pa.table({"center": vector_column(center.astype(np.float32)[None], len(center))})
    CENTER.write(run, CENTER.name, table, stage, started, NoDetails())


def read_center(run: RunDirectory, settings: Settings) -> np.ndarray | None:
    """The corpus's mean unit vector, float32 [d], where vectors are centred."""
    return vectors_of(CENTER.read(run, CENTER.name)["center"])[0] if settings.vectors.center else None


def write_clusters(job: Job, stage: str, attacked: Iterable[str]) -> None:
    """Train centroids and write the clusters table; see `clusters_of_formats`."""
    run, settings = job.run, job.settings
    parts = VECTORS.table.parts(run)
    wanted = clusters_of_formats(total(parts), attacked, settings)
    steps = (len(parts) if settings.vectors.center and wanted else 0) + len(wanted) + len(parts)
    with job.progress("clusters", steps) as progress:
        started = monotonic()
        center = None
        if settings.vectors.center:
            center = _mean_of_units(job, parts, progress)
            write_center(run, center, stage, started)
        started = monotonic()
        centroids = {}
        trained = job.workers.call(_train_format, list(wanted.items()), run.url, parts, settings, center)
        for name, block in zip(wanted, trained, strict=True):
            centroids[name] = block
            progress.advance()
        write_centroids(run, centroids, parts[0].details.width, stage, started)
        assign_all(job, stage, centroids, center, progress)


def assign_all(
    job: Job, stage: str, centroids: Mapping[str, np.ndarray], center: np.ndarray | None, progress: StageProgress
) -> None:
    """Write the parts of the clusters table that are missing."""
    parts = VECTORS.table.parts(job.run)
    missing = missing_groups(job.run, CLUSTERS, parts)
    progress.advance(len(parts) - sum(map(len, missing.values())))
    has_losses = asks_corrupted(job.settings)
    shared = (job.run.url, dict(centroids), center, has_losses, stage)
    for row in job.workers.map(_assign_parts, list(missing.items()), *shared):
        progress.advance(row["parts"])


def missing_groups(
    run: RunDirectory, table: Table, parts: Sequence[Part[Details]]
) -> dict[str, Sequence[Part[Details]]]:
    """The groups of parts of shards that the parts of a table are still to be made of."""
    done = {part.name for part in table.parts(run)}
    return {name: group for name, group in grouped(parts).items() if name not in done}


def _train_format(
    name: str, k: int, output: str, parts: Sequence[VectorsPart], settings: Settings, center: np.ndarray | None
) -> np.ndarray:
    return train_format(RunDirectory(output), parts, name, k, settings, center)


def _mean_of_units(job: Job, parts: Sequence[VectorsPart], progress: StageProgress) -> np.ndarray:
    """Mean of all unit vectors, float32 [d]; summed in the order of the parts, in whatever order they are finished."""
    sums = np.zeros(parts[0].details.width)
    left = sorted((part.name for part in parts), reverse=True)
    waiting: dict[str, np.ndarray] = {}
    for row in job.workers.map(_sum_part, parts, job.run.url):
        waiting[row["name"]] = row["sum"]
        while left and left[-1] in waiting:
            sums += waiting.pop(left.pop())
        progress.advance()
    mean: np.ndarray = (sums / sum(part.details.ok for part in parts)).astype(np.float32)
    return mean


def _sum_part(part: VectorsPart, output: str) -> Row:
    return {"name": part.name, "sum": sum_of_units(RunDirectory(output), part)}


def _assign_parts(
    group: tuple[str, Sequence[VectorsPart]],
    output: str,
    centroids: dict[str, np.ndarray],
    center: np.ndarray | None,
    has_losses: bool,
    stage: str,
) -> Row:
    """Write a clusters part: the rows of some parts with a vector, with the cluster of those whose format has any."""
    started = monotonic()
    run = RunDirectory(output)
    name, parts = group
    table = pa.concat_tables(
        [_assign_part(run, part, centroids, center, has_losses) for part in parts]
    ).combine_chunks()
    CLUSTERS.write(run, name, table, stage, started, NoDetails())
    return {"parts": len(parts)}


def _assign_part(
    run: RunDirectory, part: VectorsPart, centroids: dict[str, np.ndarray], center: np.ndarray | None, has_losses: bool
) -> pa.Table:
    rows = read_scored(run, part, ["row"])["row"]
    found = {
        name: pa.array(assign(vectors, centroids[name], center))
        for name, vectors in scored_vectors(run, part, centroids)
    }
    scored = part.details.scored.items()
    values = {
        "row": rows,
        "format": pa.chunked_array([pa.repeat(name, count) for name, count in scored], type=pa.string()),
        "cluster": pa.chunked_array(
            [found.get(name, pa.nulls(count, pa.int16())) for name, count in scored], pa.int16()
        ),
        **_columns_of(run, CLEAN, part.name, ["clean_loss"], rows),
        **_columns_of(run, CORRUPTED, part.name, LOSSES, rows, has_losses),
    }
    table_schema = CLUSTERS.schema(0)
    return pa.table([values[field.name] for field in table_schema], schema=table_schema)


def _columns_of(
    run: RunDirectory, signal: Signal, shard: str, names: Sequence[str], rows: pa.ChunkedArray, there: bool = True
) -> dict[str, pa.ChunkedArray]:
    """Columns of a shard's signal for some rows; null where the signal has none, or is not there yet."""
    if not there:
        return {name: pa.nulls(len(rows), signal.table.schema(0).field(name).type) for name in names}
    table = signal.table.read(run, shard, ["row", *names])
    places = pc.index_in(rows, table["row"].combine_chunks())
    return {name: table[name].take(places) for name in names}
