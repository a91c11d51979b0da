"""Scores: the information score of every scored conversation, one pass over the vectors."""

from collections.abc import Sequence
from time import monotonic

import pyarrow as pa

from ards_ray import schema
from ards_ray.methods.ards.information import Scorer
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.signals.vectors import scored_vectors


def score_parts(run: RunDirectory, name: str, signals: Sequence[Part], scorer: Scorer, stage: str) -> Part:
    """Write a scores part: the scored rows of some signals parts, in the order of the clusters part of that name."""
    started = monotonic()
    scores = [scorer(vectors) for part in signals for _, vectors in scored_vectors(run, part)]
    rows = run.read_table(f"clusters/{name}.parquet", ["row"])["row"]
    table = pa.table([rows, pa.chunked_array(scores, type=pa.float32())], schema=schema.SCORES).combine_chunks()
    return run.write_table(f"scores/{name}.parquet", table, stage, started)
