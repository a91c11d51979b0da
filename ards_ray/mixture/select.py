"""The last stage of every method: its ranking, its choice, the mixture and its summary."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from time import monotonic
from typing import Any

import numpy as np
import pyarrow as pa

from ards_ray.config import Settings
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.methods.method import Corpus, Method, Ranking
from ards_ray.methods.ranking import method_folder, mixture_stage, ranking_table
from ards_ray.mixture.budget import budget_count
from ards_ray.mixture.summary import SUMMARY, summarise
from ards_ray.mixture.write import write_mixture
from ards_ray.run.directory import RunDirectory
from ards_ray.run.stage import Job, stamp_of
from ards_ray.run.table import NoDetails, Table
from ards_ray.signals.registry import SIGNALS

RANKING_ROWS = 1_000_000
VERSION = 1


def signals_of(method: Method, settings: Settings) -> tuple[str, ...]:
    """Names of all signals that a method uses."""
    return tuple(dict.fromkeys([*method.signals(settings), *method.signals_of_some(settings)]))


def select_mixture(job: Job, method: Method) -> None:
    """Write a method's ranking, mixture and summary, unless they are there; its stages are done."""
    name = mixture_stage(method.name)
    stages = [stage.name for stage in method.stages(job)]
    signals = signals_of(method, job.settings)
    after = [CONVERSATIONS.folder, *(SIGNALS[signal].stage for signal in signals), *stages[-1:]]
    inputs: Mapping[str, Any] = {
        "version": VERSION,
        "method": {"name": method.name, "version": method.version, **method.depends(job)},
        "after": {before: stamp_of(job.run, job.state, before) for before in after},
        "mixture": asdict(job.settings.mixture),
    }
    summary = f"{method_folder(method.name)}/{SUMMARY}"
    if job.state.is_done(name, inputs) and job.run.exists(summary):
        return
    run, corpus = job.run, Corpus(job, signals)
    table = ranking_table(method.name)
    with job.stage(name, inputs) as stage:
        for folder in (name, table.folder, method_folder(method.name)):
            run.discard(folder)
        run.delete(summary)
        with job.progress(f"{method.name}", 3, "steps") as progress:
            ranking = method.rank(corpus)
            size = method.size(corpus, budget_count(job.settings.mixture.budget, corpus.size))
            selected = method.choose(corpus, ranking, size)
            progress.advance()
            _write_ranking(run, table, ranking, selected, ~corpus.failed, stage)
            progress.advance()
            parts = CONVERSATIONS.parts(run)
            files = job.settings.corpus.files
            counts = write_mixture(run, method_folder(method.name), parts, selected, files, stage)
            added = method.summary(corpus, ranking)
            progress.advance()
    run.write_json(summary, summarise(job, method.name, signals, selected, size, counts, added))


def _write_ranking(
    run: RunDirectory,
    table: Table[NoDetails],
    ranking: Ranking,
    selected: np.ndarray,
    listed: np.ndarray,
    stage: str,
) -> None:
    """Write the ranking: the conversations that did not fail, in row order, a million rows in a part."""
    rows = np.flatnonzero(listed)
    for number, first in enumerate(range(0, max(len(rows), 1), RANKING_ROWS)):
        started = monotonic()
        some = rows[first : first + RANKING_ROWS]
        columns = [
            pa.array(some),
            _groups(ranking, some),
            pa.array(ranking.score[some]),
            pa.array(ranking.eligible[some]),
            pa.array(selected[some]),
        ]
        part = pa.Table.from_arrays(columns, schema=table.schema(0))
        table.write(run, f"part-{number:05d}", part, stage, started, NoDetails())


def _groups(ranking: Ranking, rows: np.ndarray) -> pa.Array:
    """Names of the groups of some conversations, null where there is none."""
    names: Sequence[str] = ranking.groups
    if ranking.group is None:
        return pa.nulls(len(rows), pa.string())
    found = ranking.group[rows]
    indices = pa.array(found, mask=found < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, type=pa.string())).cast(pa.string())
