"""Candidates: the conversations of a cluster whose corrupted losses are computed, where not all of them are.

The corrupted loss of a conversation costs as much as its clean loss, or more. What can be corrupted is told by the text
alone, so that candidates are drawn before the model is asked, and the same are drawn as if all losses were known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np
import pyarrow as pa

from ards_ray.config import Settings
from ards_ray.corpus.columns import PLACE, read_by_row
from ards_ray.corpus.formats import FORMATS
from ards_ray.corpus.table import CONVERSATIONS, ConversationsDetails
from ards_ray.corruption.attack import attack_on
from ards_ray.methods.ards.clusters import CLUSTERS, cells, missing_groups
from ards_ray.methods.ards.members import draw
from ards_ray.methods.ards.names import WHOLE_CORPUS, subgroup_name
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.run.stage import Job
from ards_ray.run.table import NoDetails, Table
from ards_ray.run.workers import Row
from ards_ray.signals.compute import compute_rows
from ards_ray.signals.corrupted import CORRUPTED
from ards_ray.signals.failures import failed_rows
from ards_ray.signals.read_vectors import parts_of_places
from ards_ray.signals.vectors import VECTORS

CORRUPTIBLE_FOLDER = "methods/ards/corruptible"
CANDIDATES_FOLDER = "methods/ards/candidates"


@dataclass(frozen=True)
class CorruptibleDetails:
    """What the manifest notes of a part: its conversations that can be corrupted, by format."""

    formats: dict[str, int]


CORRUPTIBLE = Table(
    CORRUPTIBLE_FOLDER,
    lambda width: pa.schema([pa.field("row", pa.int64(), nullable=False), pa.field("corruption", pa.string())]),
    CorruptibleDetails,
)
CANDIDATES = Table(
    CANDIDATES_FOLDER,
    lambda width: pa.schema(
        [
            pa.field("row", pa.int64(), nullable=False),
            pa.field("shard", pa.string(), nullable=False),
            pa.field("subgroup", pa.string(), nullable=False),
        ]
    ),
    NoDetails,
    "candidates",
)


def write_corruptible(job: Job, stage: str) -> None:
    """Write which conversations can be corrupted, and how."""
    shards = CONVERSATIONS.parts(job.run)
    missing = missing_groups(job.run, CORRUPTIBLE, shards)
    with job.progress("corruptible", len(shards)) as progress:
        progress.advance(len(shards) - sum(map(len, missing.values())))
        for row in job.workers.map(_write_corruptible, list(missing.items()), job.run.url, job.settings, stage):
            progress.advance(row["parts"])


def _write_corruptible(
    group: tuple[str, Sequence[Part[ConversationsDetails]]], output: str, settings: Settings, stage: str
) -> Row:
    started = monotonic()
    run = RunDirectory(output)
    name, shards = group
    rows: list[int] = []
    corruptions: list[str | None] = []
    formats: dict[str, int] = {}
    for shard in shards:
        for entry in run.read_table(shard.path).to_pylist():
            corruption = attack_on(entry, settings)
            rows.append(entry["row"])
            corruptions.append(corruption)
            if corruption is not None:
                formats[entry["format"]] = formats.get(entry["format"], 0) + 1
    table = pa.table([rows, corruptions], schema=CORRUPTIBLE.schema(0))
    CORRUPTIBLE.write(run, name, table, stage, started, CorruptibleDetails(formats))
    return {"parts": len(shards)}


def corruptible_formats(run: RunDirectory) -> dict[str, int]:
    """Conversations that can be corrupted, by format."""
    parts = CORRUPTIBLE.parts(run)
    sums = {name: sum(part.details.formats.get(name, 0) for part in parts) for name in FORMATS}
    return {name: count for name, count in sums.items() if count}


def write_candidates(job: Job, stage: str) -> None:
    """Draw the candidates of each cluster, and have their corrupted losses computed."""
    run = job.run
    started = monotonic()
    drawn = list(_draw(job))
    rows = np.concatenate([rows for _, rows in drawn]) if drawn else np.empty(0, np.int64)
    names = np.repeat([name for name, _ in drawn], [len(rows) for _, rows in drawn]) if drawn else np.empty(0, str)
    shards = _shards_of(run, rows)
    order = np.argsort(rows, kind="stable")
    table = pa.table(
        [rows[order].tolist(), shards[order].tolist(), names[order].tolist()],
        schema=CANDIDATES.schema(0),
    )
    wanted: dict[str, list[int]] = {}
    for shard, row in zip(shards[order].tolist(), rows[order].tolist(), strict=True):
        wanted.setdefault(shard, []).append(row)
    compute_rows(job, CORRUPTED.name, {shard: wanted[shard] for shard in sorted(wanted)})
    CANDIDATES.write(run, CANDIDATES.name, table, stage, started, NoDetails())


def _draw(job: Job) -> Iterator[tuple[str, np.ndarray]]:
    """For each cluster the rows that are drawn."""
    run, settings = job.run, job.settings
    size = sum(part.rows for part in CONVERSATIONS.parts(run))
    columns = read_by_row(run, CLUSTERS, ["format", "cluster"], size)
    formats, clusters = columns["format"], columns["cluster"]
    usable = read_by_row(run, CORRUPTIBLE, ["corruption"], size)["corruption"]
    formats[failed_rows(run, ("clean", "vectors"), size)] = -1
    usable &= formats >= 0
    count = settings.subgroups.candidates
    assert count != "all"
    if not settings.subgroups.cluster:
        yield WHOLE_CORPUS, draw(np.flatnonzero(usable), WHOLE_CORPUS, count, settings.seed)
        return
    for format, cluster, rows in cells(formats, clusters):
        name = subgroup_name(format, cluster)
        yield name, draw(rows[usable[rows]], name, count, settings.seed)


def _shards_of(run: RunDirectory, rows: np.ndarray) -> np.ndarray:
    """The shard of each row, as an array of names; told by the rows' places, so that no shard is opened."""
    parts = VECTORS.table.parts(run)
    size = sum(part.rows for part in parts)
    owners, _ = parts_of_places(parts, read_by_row(run, CLUSTERS, [PLACE], size)[PLACE][rows])
    return np.array([part.name for part in parts], dtype=object)[owners]


def candidate_losses(run: RunDirectory, size: int) -> dict[str, np.ndarray]:
    """Corrupted losses, float32 [size], and whether the answers were right, bool [size], of the candidates alone."""
    chosen = CANDIDATES.read(run, CANDIDATES.name)
    drawn = np.zeros(size, dtype=bool)
    drawn[chosen["row"].to_numpy()] = True
    shards = set(chosen["shard"].to_pylist())
    parts = [part for part in CORRUPTED.table.parts(run) if part.name in shards]
    columns = read_by_row(run, CORRUPTED.table, ["corrupted_loss", "corrupted_correct"], size, parts)
    columns["corrupted_loss"][~drawn] = np.nan
    return columns
