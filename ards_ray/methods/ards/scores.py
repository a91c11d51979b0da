"""Scores: the information score of every conversation with a vector, one pass over the vectors."""

from collections.abc import Sequence
from time import monotonic

import pyarrow as pa

from ards_ray.methods.ards.clusters import CLUSTERS, missing_groups
from ards_ray.methods.ards.information import Scorer
from ards_ray.methods.ards.subgroups import read_reference
from ards_ray.run.directory import RunDirectory
from ards_ray.run.stage import Job
from ards_ray.run.table import NoDetails, Table
from ards_ray.run.workers import Row
from ards_ray.signals.read_vectors import VectorsPart, scored_vectors
from ards_ray.signals.vectors import VECTORS

SCORES_FOLDER = "methods/ards/scores"
SCORES = Table(
    SCORES_FOLDER,
    lambda width: pa.schema(
        [pa.field("row", pa.int64(), nullable=False), pa.field("score", pa.float32(), nullable=False)]
    ),
    NoDetails,
    rows_of="vectors",
)


def write_scores(job: Job, stage: str) -> None:
    """Score the corpus against the subgroups."""
    run, settings = job.run, job.settings
    missing = missing_groups(run, SCORES, VECTORS.table.parts(run))
    scorer = Scorer(read_reference(run, settings), settings.score.aggregate, settings.score.similarity)
    with job.progress("scores", sum(map(len, missing.values()))) as progress:
        for row in job.workers.map(_score_parts, list(missing.items()), run.url, scorer, stage):
            progress.advance(row["parts"])


def _score_parts(group: tuple[str, Sequence[VectorsPart]], output: str, scorer: Scorer, stage: str) -> Row:
    """Write a scores part: the rows of some parts with a vector, in the order of the clusters part of that name."""
    started = monotonic()
    run = RunDirectory(output)
    name, parts = group
    scores = [scorer(vectors) for part in parts for _, vectors in scored_vectors(run, part)]
    rows = CLUSTERS.read(run, name, ["row"])["row"]
    table = pa.table([rows, pa.chunked_array(scores, type=pa.float32())], schema=SCORES.schema(0)).combine_chunks()
    SCORES.write(run, name, table, stage, started, NoDetails())
    return {"parts": len(parts)}
