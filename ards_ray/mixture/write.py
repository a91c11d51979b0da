"""Mixture: which conversations are chosen, and the files that hold them."""

import json
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray import schema
from ards_ray.arrays.best import best
from ards_ray.arrays.shares import largest_remainders
from ards_ray.config import Settings
from ards_ray.corpus.formats import FORMATS
from ards_ray.corpus.sources.registry import FORMS as CORPUS_FORMS
from ards_ray.corpus.sources.registry import mixture_form, open_corpus
from ards_ray.errors import reason_of
from ards_ray.methods.ards.subgroups import MEMBERS, SUBGROUPS, WHOLE_CORPUS, subgroup_name
from ards_ray.mixture.budget import budget_count
from ards_ray.mixture.records import records_in_order
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.signals.columns import read_by_row, tables
from ards_ray.signals.inputs import signals_digest
from ards_ray.storage.scratch import scratch_folder

FAILURES = "failures.jsonl"
INFORMATION_ROWS = 1_000_000


@dataclass(frozen=True)
class Selection:
    """What is chosen of the corpus: arrays [conversations] whose index is the row.

    Attributes:
        formats: int8, index into `FORMATS`; -1 where the conversation is not scored.
        clusters: int16; -1 where it has none.
        scores: float32.
        members: bool.
        selected: bool.
        wanted: The size that the budget asks for.
    """

    formats: np.ndarray
    clusters: np.ndarray
    scores: np.ndarray
    members: np.ndarray
    selected: np.ndarray
    wanted: int


def select(run: RunDirectory, settings: Settings, corpus_formats: dict[str, int]) -> Selection:
    """Choose the mixture.

    Args:
        run: The run.
        settings: The run's settings.
        corpus_formats: Conversations of each format in the corpus, failed ones counted.
    """
    conversations = sum(corpus_formats.values())
    scores = read_by_row(run, run.parts("scores"), ["score"], conversations)["score"]
    clusters = read_by_row(run, run.parts("clusters"), ["format", "cluster"], conversations)
    formats = clusters["format"]
    members = np.zeros(conversations, dtype=bool)
    if settings.subgroups.run is None:
        members[run.read_table(MEMBERS, ["row"])["row"].to_numpy()] = True
    candidates = formats >= 0
    if settings.mixture.exclude_members:
        candidates &= ~members
    size = budget_count(settings.mixture.budget, conversations)
    selected = np.zeros(conversations, dtype=bool)
    if settings.mixture.quota == "format":
        for name, share in largest_remainders(corpus_formats, size).items():
            _choose(selected, np.flatnonzero(candidates & (formats == FORMATS.index(name))), scores, share)
    # Without quotas this takes them all; with quotas, what a format could not fill goes to the best of the rest.
    _choose(selected, np.flatnonzero(candidates & ~selected), scores, size - int(selected.sum()))
    return Selection(formats, clusters["cluster"], scores, members, selected, size)


def _choose(selected: np.ndarray, rows: np.ndarray, scores: np.ndarray, size: int) -> None:
    """Select the best of some rows."""
    selected[rows[best(rows, scores[rows], size)]] = True


def write_information(run: RunDirectory, selection: Selection, stage: str) -> None:
    """Write the information table: the scored conversations in row order, a million rows in a part."""
    names = run.read_table(SUBGROUPS, ["subgroup"])["subgroup"].to_pylist()
    subgroups = _subgroup_of_cluster(names, int(selection.clusters.max(initial=-1)) + 1)
    scored = np.flatnonzero(selection.formats >= 0)
    for number, first in enumerate(range(0, max(len(scored), 1), INFORMATION_ROWS)):
        started = monotonic()
        rows = scored[first : first + INFORMATION_ROWS]
        found = subgroups[selection.formats[rows], selection.clusters[rows]]
        indices = pa.array(found, mask=found < 0)
        columns = [
            pa.array(rows),
            pa.DictionaryArray.from_arrays(indices, pa.array(names, type=pa.string())).cast(pa.string()),
            pa.array(selection.scores[rows]),
            pa.array(selection.members[rows]),
            pa.array(selection.selected[rows]),
        ]
        table = pa.Table.from_arrays(columns, schema=schema.INFORMATION)
        run.write_table(f"information/part-{number:05d}.parquet", table, stage, started)


def _subgroup_of_cluster(names: list[str], clusters: int) -> np.ndarray:
    """The index of the subgroup of each format and cluster, int32 [formats, clusters + 1]; -1 where there is none.

    The last column is that of conversations without a cluster.
    """
    found = np.full((len(FORMATS), clusters + 1), -1, dtype=np.int32)
    if names == [WHOLE_CORPUS]:
        found[:] = 0
        return found
    place = {name: index for index, name in enumerate(names)}
    for code, format in enumerate(FORMATS):
        for cluster in range(clusters):
            found[code, cluster] = place.get(subgroup_name(format, cluster), -1)
    return found


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
    paths = [f"{folder}/{form.mixture_name}" for form in CORPUS_FORMS]
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


def source_folders(images: pa.ChunkedArray, sources: pa.ChunkedArray) -> pa.ChunkedArray:
    """Where conversations' first images come from: the first folder of the path, or the corpus file that embeds it."""
    images = pc.list_element(pc.list_slice(images, 0, 1, return_fixed_size_list=True), 0)
    first = pc.list_element(pc.split_pattern(images, "/", max_splits=1), 0)
    folders = pc.if_else(pc.match_substring(images, "/"), first, "(top)").fill_null("(no image)")
    if not pc.any(pc.match_substring(images, "#")).as_py():
        return folders
    # The name of an embedded image is that of the corpus file and the row within it; see `embedded_row`.
    files = pc.struct_field(pc.extract_regex(images, r"(?s)^(?P<file>.*)#\p{Nd}+$"), "file")
    names = sources.unique()
    basenames = pa.array(map(posixpath.basename, names.to_pylist()), type=pa.string())
    return pc.if_else(pc.equal(files, sources).fill_null(False), basenames.take(pc.index_in(sources, names)), folders)


def write_failures(run: RunDirectory, conversations: Sequence[Part], signals: Sequence[Part]) -> dict[str, int]:
    """Write failures.jsonl, a line for each failed conversation in part order, and count them by reason."""
    started = monotonic()
    stage = signals_digest(signals)
    written = run.part(FAILURES)
    if written is not None and written.fingerprint == stage:
        return dict(written.details["reasons"])
    reasons: Counter[str] = Counter()
    names = {part.name: part for part in conversations}
    with run.publish(FAILURES) as stream:
        for part in signals:
            if not part.details["failed"]:
                continue
            failed = run.read_table(part.path, ["row", "status", "error"])
            failed = failed.filter(pc.equal(failed["status"], "failed"))
            errors = dict(zip(failed["row"].to_pylist(), failed["error"].to_pylist(), strict=True))
            for entry in run.read_table(names[part.name].path, ["row", "id", "source"]).to_pylist():
                if entry["row"] in errors:
                    error = errors[entry["row"]]
                    reasons[reason_of(error)] += 1
                    stream.write((json.dumps({**entry, "error": error}, ensure_ascii=False) + "\n").encode())
    run.record(FAILURES, reasons.total(), stream, stage, started, {"reasons": dict(reasons)})
    return dict(reasons)


def example_failure(run: RunDirectory, reasons: Mapping[str, int]) -> str:
    """The whole error of a conversation that failed for the most frequent reason; failures.jsonl is written."""
    reason = max(reasons, key=lambda name: reasons[name])
    lines = run.read_bytes(FAILURES).splitlines()
    return next(error for line in lines if reason_of(error := json.loads(line)["error"]) == reason)
