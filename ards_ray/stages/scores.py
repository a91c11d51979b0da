"""Scores: the information score of every scored conversation, one pass over the vectors."""

from collections.abc import Sequence
from time import monotonic

import pyarrow as pa

from ards_ray import schema
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.selection.information import Scorer
from ards_ray.stages.vectors import read_scored


def score_parts(run: RunDirectory, name: str, signals: Sequence[Part], scorer: Scorer, stage: str) -> Part:
    """Write a scores part: the scored rows of some signals parts."""
    started = monotonic()
    tables = []
    for part in signals:
        rows = read_scored(run, part, ["row", "vector"])
        scores = scorer(schema.vectors_of(rows["vector"]))
        tables.append(pa.table([rows["row"], pa.array(scores)], schema=schema.SCORES))
    return run.write_table(f"scores/{name}.parquet", pa.concat_tables(tables).combine_chunks(), stage, started)
