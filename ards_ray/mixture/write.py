"""Mixture: which conversations are chosen, and the files that hold them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ards_ray.corpus.parquet import open_parquet
from ards_ray.corpus.readers import is_parquet
from ards_ray.corpus.writers import parquet_mixture, parquet_schema, write_json_array
from ards_ray.mixture.records import records_in_order
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.signals.columns import tables
from ards_ray.signals.folders import source_folders
from ards_ray.storage.location import locate
from ards_ray.storage.scratch import scratch_folder

MIXTURE_JSON = "mixture.json"


@dataclass(frozen=True)
class Composition:
    """Conversations by format and by source folder, in the corpus and in the mixture."""

    corpus_formats: dict[str, int]
    corpus_folders: dict[str, int]
    mixture_formats: dict[str, int]
    mixture_folders: dict[str, int]


def write_mixture(
    run: RunDirectory,
    folder: str,
    conversations: Sequence[Part],
    selected: np.ndarray,
    files: Sequence[str],
    stage: str,
) -> Composition:
    """Write the chosen conversations in corpus order, and count corpus and mixture.

    A JSON corpus gives one JSON array of the original records; a Parquet corpus gives Parquet parts of the original
    columns, images included, one for each of its files that has a chosen conversation.

    Args:
        run: The run.
        folder: Folder of the run that it is written to.
        conversations: Parts of the conversations.
        selected: bool [conversations], what was chosen.
        files: The corpus files, in their order.
        stage: The stage's fingerprint.
    """
    started = monotonic()
    counters = [Counter(), Counter(), Counter(), Counter()]  # type: list[Counter[str]]
    counted = ["row", "format", "image", "source"]
    if is_parquet(files[0]):
        for table in tables(run, conversations, counted):
            _count(table, selected, counters)
        _copy_rows(run, folder, selected, files, stage)
    else:
        path = f"{folder}/{MIXTURE_JSON}"
        with scratch_folder(run.url) as scratch, run.publish(path) as stream:
            passing = _counting(tables(run, conversations, [*counted, "record"]), selected, counters)
            count = write_json_array(stream, records_in_order(passing, selected, scratch))
        run.record(path, count, stream, stage, started)
    return Composition(*(dict(sorted(counter.items())) for counter in counters))


def _copy_rows(run: RunDirectory, folder: str, selected: np.ndarray, files: Sequence[str], stage: str) -> None:
    """Write the selected rows of a Parquet corpus."""
    first = 0
    for number, file in enumerate(files):
        started = monotonic()
        with open_parquet(locate(file)) as parquet:
            rows = parquet.metadata.num_rows
        local = np.flatnonzero(selected[first : first + rows])
        first += rows
        if not len(local):
            continue
        path = f"{folder}/mixture/part-{number:05d}.parquet"
        with run.publish(path) as stream, pq.ParquetWriter(stream, parquet_schema(file)) as writer:
            for batch in parquet_mixture(file, local):
                writer.write_batch(batch)
        run.record(path, len(local), stream, stage, started)


def _counting(
    conversations: Iterable[pa.Table], selected: np.ndarray, counters: Sequence[Counter[str]]
) -> Iterator[pa.Table]:
    """Count conversations while they pass: reading them twice would take longer than all that is done with them."""
    for table in conversations:
        _count(table, selected, counters)
        yield table


def _count(table: pa.Table, selected: np.ndarray, counters: Sequence[Counter[str]]) -> None:
    """Add conversations to the counts by format and folder of the corpus, and to those of the mixture."""
    columns = {
        "format": table["format"],
        "folder": source_folders(table["image"], table["source"]),
        "selected": pa.array(selected[table["row"].to_numpy()]),
    }
    for kind in pa.table(columns).group_by(list(columns)).aggregate([([], "count_all")]).to_pylist():
        names = (kind["format"], kind["folder"]) * (2 if kind["selected"] else 1)
        for counter, name in zip(counters, names, strict=False):
            counter[name] += kind["count_all"]
