"""Scores: the information score of every scored conversation, one pass over the vectors."""

from time import monotonic

import numpy as np
import pyarrow as pa

from ards_ray import schema
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.selection.information import Scorer
from ards_ray.stages.vectors import read_format


def score_part(run: RunDirectory, part: Part, scorer: Scorer, stage: str) -> Part:
    """Write the scores part of a signals part."""
    started = monotonic()
    rows, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for name in part.details["scored"]:
        table = read_format(run, part, name, ["row", "vector"])
        rows.append(table["row"].to_numpy())
        scores.append(scorer(schema.vectors_of(table["vector"])))
    table = pa.Table.from_arrays(
        [pa.array(np.concatenate(rows)), pa.array(np.concatenate(scores))], schema=schema.SCORES
    )
    return run.write_table(f"scores/{part.name}.parquet", table, stage, started)
