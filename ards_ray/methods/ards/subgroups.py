"""Subgroups: the members of each, their loss and weight, and the mean of their vectors."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
import pyarrow as pa

from ards_ray.arrays.kmeans import cluster_count
from ards_ray.config import Settings
from ards_ray.corpus.columns import PLACE, read_by_row
from ards_ray.corpus.formats import FORMATS
from ards_ray.errors import ArdsError
from ards_ray.methods.ards.candidates import candidate_losses, corruptible_formats
from ards_ray.methods.ards.clusters import CLUSTERS, cells, draws_candidates, read_center, read_centroids, total
from ards_ray.methods.ards.information import ReferenceSubgroups, mean_member, member_vectors
from ards_ray.methods.ards.members import Candidates, difficulty_weights, subgroup_loss, worst_case
from ards_ray.methods.ards.names import WHOLE_CORPUS, subgroup_name
from ards_ray.run.directory import THREADS, RunDirectory
from ards_ray.run.stage import Job
from ards_ray.run.table import NoDetails, Table
from ards_ray.run.vectors import vector_column, vectors_of
from ards_ray.signals.compute import sample_images
from ards_ray.signals.corrupted import CORRUPTED
from ards_ray.signals.failures import failed_rows
from ards_ray.signals.read_vectors import parts_of_places, read_places
from ards_ray.signals.vectors import VECTORS
from ards_ray.signals.work import SignalWork

SUBGROUPS_FOLDER = "methods/ards/subgroups"
SUBGROUPS = Table(
    SUBGROUPS_FOLDER,
    lambda width: pa.schema(
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
    ),
    NoDetails,
    "subgroups",
)
MEMBERS = Table(
    SUBGROUPS_FOLDER,
    lambda width: pa.schema(
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
    ),
    NoDetails,
    "members",
)


@dataclass(frozen=True)
class Subgroup:
    """A subgroup whose members are known.

    Attributes:
        name: `choice-003`, or `all`.
        format: Its format; None for the whole corpus.
        cluster: Its cluster; None for the whole corpus.
        size: Conversations of the cluster.
        rows: int64, the members, first member first.
        parts: For each member the index of its part.
        places: Where each member stands among the scored rows of its part.
        loss_gap: float32.
        clean_loss: float32.
        corrupted_loss: float32.
    """

    name: str
    format: str | None
    cluster: int | None
    size: int
    rows: np.ndarray
    parts: np.ndarray
    places: np.ndarray
    loss_gap: np.ndarray
    clean_loss: np.ndarray
    corrupted_loss: np.ndarray


def choose_members(run: RunDirectory, settings: Settings) -> list[Subgroup]:
    """The subgroups and their members, from the clusters and losses of all scored conversations.

    Raises:
        ArdsError: there is no subgroup.
    """
    parts = VECTORS.table.parts(run)
    conversations = sum(part.rows for part in parts)
    wanted = (PLACE, "format", "cluster", "clean_loss", "corrupted_loss", "corrupted_correct")
    columns = read_by_row(run, CLUSTERS, wanted, conversations)
    signals = ["clean", "vectors"]
    if draws_candidates(settings):
        columns |= candidate_losses(run, conversations)
        attacked = corruptible_formats(run)
    else:
        signals.append("corrupted")
        attacked = total(CORRUPTED.table.parts(run))
    formats, clusters = columns["format"], columns["cluster"]
    formats[failed_rows(run, signals, conversations)] = -1

    def subgroup(name: str, format: str | None, cluster: int | None, rows: np.ndarray, size: int) -> Subgroup | None:
        candidates = Candidates(
            name,
            rows,
            columns["clean_loss"][rows],
            columns["corrupted_loss"][rows],
            columns["corrupted_correct"][rows],
            formats[rows] == FORMATS.index("choice"),
        )
        picked = worst_case(candidates, settings.subgroups, size, settings.seed)
        if not len(picked):
            return None
        owners, places = parts_of_places(parts, columns[PLACE][rows[picked]])
        return Subgroup(
            name=name,
            format=format,
            cluster=cluster,
            size=len(rows),
            rows=rows[picked],
            parts=owners,
            places=places,
            loss_gap=candidates.loss_gap[picked],
            clean_loss=candidates.clean_loss[picked],
            corrupted_loss=candidates.corrupted_loss[picked],
        )

    found: list[Subgroup | None] = []
    if settings.subgroups.cluster:
        for format, cluster, rows in cells(formats, clusters):
            name = subgroup_name(format, cluster)
            found.append(subgroup(name, format, cluster, rows, settings.subgroups.members))
    else:
        scored = total(parts)
        corruptible = attacked or {name: 0 for name in scored if name != "text"}
        clusters_in_full = sum(cluster_count(scored[name], settings.subgroups.per_format) for name in corruptible)
        size = max(1, clusters_in_full * settings.subgroups.members)
        found.append(subgroup(WHOLE_CORPUS, None, None, np.flatnonzero(formats >= 0), size))
    subgroups = [item for item in found if item is not None]
    if not subgroups:
        raise ArdsError(
            "no subgroup has a member: too few conversations could be scored and corrupted; see failures.jsonl"
        )
    return subgroups


def corrupted_members(subgroups: Sequence[Subgroup]) -> list[tuple[int, int]]:
    """Members whose corrupted versions join too, as (part index, row): those of `choice` subgroups."""
    return [
        (int(part), int(row))
        for item in subgroups
        if item.format == "choice"
        for part, row, loss in zip(item.parts, item.rows, item.corrupted_loss, strict=True)
        if np.isfinite(loss)
    ]


def write_subgroups(job: Job, stage: str) -> None:
    """Choose the members of each subgroup and write subgroups and members.

    Raises:
        ArdsError: there is no subgroup.
    """
    run, settings = job.run, job.settings
    started = monotonic()
    parts = VECTORS.table.parts(run)
    found = choose_members(run, settings)
    wanted: dict[int, dict[int, int]] = {}
    for item in found:
        for index, place, row in zip(item.parts, item.places, item.rows, strict=True):
            wanted.setdefault(int(index), {})[int(place)] = int(row)
    vectors: dict[int, np.ndarray] = {}
    with job.progress("subgroups", len(wanted)) as progress, ThreadPoolExecutor(THREADS) as pool:
        read = pool.map(lambda index: read_places(run, parts[index], list(wanted[index])), wanted)
        for places, block in zip(wanted.values(), read, strict=True):
            vectors.update(zip(places.values(), block, strict=True))
            progress.advance()
    corrupted: dict[int, np.ndarray] = {}
    if settings.subgroups.versions == "clean+corrupted":
        rows: dict[str, list[int]] = {}
        for index, row_number in corrupted_members(found):
            rows.setdefault(parts[index].name, []).append(row_number)
        images = sample_images(job)
        work = SignalWork(run.url, settings, job.model)
        corrupted = job.workers.with_proxy(score_corrupted_of, settings, images, work, rows)
    _write(run, settings, found, vectors, corrupted, stage, started)


def score_corrupted_of(settings: Settings, work: SignalWork, rows: Mapping[str, Sequence[int]]) -> dict[int, Any]:
    """Vectors of corrupted members, where a proxy can be loaded."""
    # Imported late: other workers of this stage do not wait for it.
    from ards_ray.signals.score import score_corrupted

    return score_corrupted(work, rows)


def _write(
    run: RunDirectory,
    settings: Settings,
    subgroups: Sequence[Subgroup],
    vectors: Mapping[int, np.ndarray],
    corrupted_vectors: Mapping[int, np.ndarray],
    stage: str,
    started: float,
) -> None:
    """Write members and subgroups.

    Args:
        run: The run.
        settings: The run's settings.
        subgroups: The subgroups.
        vectors: Vector float16 [d] of every member.
        corrupted_vectors: Vectors of the corrupted versions that join as members.
        stage: The stage's fingerprint.
        started: When the stage began.
    """
    center = read_center(run, settings)
    width = len(next(iter(vectors.values())))
    centroids = read_centroids(run)
    losses = np.array(
        [subgroup_loss(item.clean_loss, item.corrupted_loss, settings.subgroups.perturb) for item in subgroups]
    )
    weights = difficulty_weights(losses, settings.score.temperature)
    members = [_members(item, vectors, corrupted_vectors, width) for item in subgroups]
    MEMBERS.write(run, MEMBERS.name, pa.concat_tables(members).combine_chunks(), stage, started, NoDetails())
    means = [mean_member(member_vectors(vectors_of(table["vector"]), center)) for table in members]
    missing = pa.array([item.cluster is None for item in subgroups], type=pa.bool_())
    centres = [
        np.zeros(width, np.float32) if item.cluster is None else centroids[str(item.format)][item.cluster]
        for item in subgroups
    ]
    table = pa.Table.from_arrays(
        [
            pa.array([item.name for item in subgroups]),
            pa.array([item.format for item in subgroups], type=pa.string()),
            pa.array([item.size for item in subgroups], type=pa.int64()),
            pa.array([table.num_rows for table in members], type=pa.int32()),
            pa.array(losses),
            pa.array(weights),
            pa.FixedSizeListArray.from_arrays(pa.array(np.stack(centres).reshape(-1)), width, mask=missing),
            vector_column(np.stack(means), width),
        ],
        schema=SUBGROUPS.schema(width),
    )
    SUBGROUPS.write(run, SUBGROUPS.name, table, stage, started, NoDetails())


def _members(
    item: Subgroup, vectors: Mapping[int, np.ndarray], corrupted_vectors: Mapping[int, np.ndarray], width: int
) -> pa.Table:
    joining = [
        index for index, row in enumerate(item.rows) if item.format == "choice" and int(row) in corrupted_vectors
    ]
    chosen = np.array([*range(len(item.rows)), *joining], dtype=np.int64)
    versions = ["clean"] * len(item.rows) + ["corrupted"] * len(joining)
    stacked = np.stack(
        [
            (vectors if version == "clean" else corrupted_vectors)[int(item.rows[index])]
            for index, version in zip(chosen, versions, strict=True)
        ]
    ).astype(np.float16)
    return pa.Table.from_arrays(
        [
            pa.array([item.name] * len(chosen)),
            pa.array(range(len(chosen)), type=pa.int32()),
            pa.array(item.rows[chosen]),
            pa.array(versions),
            pa.array(item.loss_gap[chosen], type=pa.float32(), from_pandas=True),
            pa.array(item.clean_loss[chosen], type=pa.float32()),
            pa.array(item.corrupted_loss[chosen], type=pa.float32(), from_pandas=True),
            vector_column(stacked, width),
        ],
        schema=MEMBERS.schema(width),
    )


def read_reference(run: RunDirectory, settings: Settings) -> ReferenceSubgroups:
    """The subgroups of a run, as the corpus is scored against them."""
    subgroups = SUBGROUPS.read(run, SUBGROUPS.name, ["subgroup", "weight", "members", "mean_member"])
    center = read_center(run, settings)
    means = vectors_of(subgroups["mean_member"])
    members = np.empty((0, means.shape[1]), dtype=np.float32)
    if settings.score.similarity == "max":
        members = member_vectors(vectors_of(MEMBERS.read(run, MEMBERS.name, ["vector"])["vector"]), center)
    return ReferenceSubgroups(
        weights=subgroups["weight"].to_numpy(),
        mean_members=means,
        members=members,
        sizes=tuple(subgroups["members"].to_pylist()),
        center=center,
    )
