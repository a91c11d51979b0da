"""The mixture's files, and what corpus and mixture are made of."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np
import pyarrow as pa

from ards_ray.corpus.columns import tables
from ards_ray.corpus.folders import source_folders
from ards_ray.corpus.sources.registry import FORMS, mixture_form, open_corpus
from ards_ray.mixture.records import records_in_order
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.storage.scratch import scratch_folder


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
    """Write the chosen conversations in corpus order and in the corpus's form, and count corpus and mixture.

    Args:
        run: The run.
        folder: Folder of the run that the mixture is written to.
        conversations: Parts of the conversations.
        selected: bool, for each row of the corpus.
        files: The corpus files, in their order.
        stage: The stage's fingerprint.

    Raises:
        CorpusError: a corpus file that the mixture is copied from is gone or changed.
    """
    sources = open_corpus(files)
    form = mixture_form(sources)
    counters = [Counter(), Counter(), Counter(), Counter()]  # type: list[Counter[str]]
    columns = ["row", "format", "images", "source", *form.mixture_columns]
    passing = _counting(tables(run, conversations, columns), selected, counters)
    with scratch_folder(run.url) as scratch:
        records = records_in_order(passing, selected, scratch) if form.mixture_columns else ()
        started = monotonic()
        for file in form.mixture(sources, selected, records):
            path = f"{folder}/{file.name}"
            with run.publish(path) as stream:
                count = file.write(stream)
            run.record(path, count, stream, stage, started)
            started = monotonic()
    # A form that copies rows has not read them.
    for _ in passing:
        pass
    return Composition(*(dict(sorted(counter.items())) for counter in counters))


def mixture_url(run: RunDirectory, folder: str) -> str:
    """Where the mixture in a folder of a run lies: a file, or a folder of parts."""
    paths = [f"{folder}/{form.mixture_name}" for form in FORMS]
    return f"{run.url}/{next(filter(run.exists, paths), paths[0])}"


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
        "folder": source_folders(table["images"], table["source"]),
        "selected": pa.array(selected[table["row"].to_numpy()]),
    }
    for kind in pa.table(columns).group_by(list(columns)).aggregate([([], "count_all")]).to_pylist():
        names = (kind["format"], kind["folder"]) * (2 if kind["selected"] else 1)
        for counter, name in zip(counters, names, strict=False):
            counter[name] += kind["count_all"]
