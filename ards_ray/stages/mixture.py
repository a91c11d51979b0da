"""Mixture: which conversations are chosen, and the files that hold them."""

import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ards_ray import schema
from ards_ray.config import Settings
from ards_ray.corpus.parquet import open_parquet
from ards_ray.corpus.readers import embedded_row, is_parquet
from ards_ray.corpus.writers import parquet_mixture, parquet_schema, write_json_array
from ards_ray.errors import reason_of
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.selection.mixture import best, budget_count, format_quotas
from ards_ray.stages.inputs import signals_digest
from ards_ray.stages.subgroups import MEMBERS, SUBGROUPS, WHOLE_CORPUS, subgroup_name
from ards_ray.storage.location import locate
from ards_ray.storage.scratch import scratch_folder

MIXTURE_JSON = "mixture.json"
FAILURES = "failures.jsonl"
INFORMATION_ROWS = 1_000_000
SORTED_ROWS = 100_000
PARTS_AT_A_TIME = 64


@dataclass(frozen=True)
class Selection:
    """All scored conversations in row order, arrays [n].

    Attributes:
        rows: int64.
        scores: float32.
        subgroups: Subgroup of each one's cluster, or None, as an Arrow dictionary column.
        members: bool.
        selected: bool.
        wanted: The size that the budget asks for.
    """

    rows: np.ndarray
    scores: np.ndarray
    subgroups: pa.Array
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
    scores = run.read_columns(run.parts("scores"), ["row", "score"])
    order = np.argsort(scores["row"].to_numpy())
    rows = scores["row"].to_numpy()[order]
    score = scores["score"].to_numpy()[order]
    clusters = run.read_columns(run.parts("clusters"), ["row", "format", "cluster"])
    clusters = clusters.take(pa.array(np.argsort(clusters["row"].to_numpy())))
    formats = clusters["format"].combine_chunks().dictionary_encode()
    format_codes = formats.indices.to_numpy()
    names = formats.dictionary.to_pylist()
    members = np.zeros(len(rows), dtype=bool)
    if settings.subgroups.run is None:
        members = np.isin(rows, run.read_table(MEMBERS, ["row"])["row"].to_numpy())
    candidates = np.flatnonzero(~members) if settings.mixture.exclude_members else np.arange(len(rows))
    size = budget_count(settings.mixture.budget, sum(corpus_formats.values()))
    selected = np.zeros(len(rows), dtype=bool)
    if settings.mixture.quota == "format":
        for name, share in format_quotas(corpus_formats, size).items():
            if name in names:
                of_format = candidates[format_codes[candidates] == names.index(name)]
                selected[of_format[best(rows[of_format], score[of_format], share)]] = True
    # Without quotas this takes them all; with quotas, what a format could not fill goes to the best of the rest.
    rest = candidates[~selected[candidates]]
    selected[rest[best(rows[rest], score[rest], size - int(selected.sum()))]] = True
    subgroups = _subgroup_column(run, names, format_codes, clusters["cluster"].fill_null(-1).to_numpy())
    return Selection(rows, score, subgroups, members, selected, size)


def _subgroup_column(run: RunDirectory, names: list[str], codes: np.ndarray, clusters: np.ndarray) -> pa.Array:
    """The subgroup of each conversation's cluster, null where it has none."""
    existing = run.read_table(SUBGROUPS, ["subgroup"])["subgroup"].to_pylist()
    if existing == [WHOLE_CORPUS]:
        indices = pa.array(np.zeros(len(codes), dtype=np.int32))
        return pa.DictionaryArray.from_arrays(indices, pa.array(existing)).cast(pa.string())
    place = {name: index for index, name in enumerate(existing)}
    width = int(clusters.max(initial=-1)) + 1
    lookup = np.array(
        [[place.get(subgroup_name(name, cluster), -1) for cluster in range(width)] + [-1] for name in names]
    )
    found = lookup[codes, clusters]
    indices = pa.array(found.astype(np.int32), mask=found < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(existing)).cast(pa.string())


def write_information(run: RunDirectory, selection: Selection, stage: str) -> None:
    """Write the information table, in row order, a million rows in a part."""
    for number, first in enumerate(range(0, max(len(selection.rows), 1), INFORMATION_ROWS)):
        started = monotonic()
        part = slice(first, first + INFORMATION_ROWS)
        columns = [
            pa.array(selection.rows[part]),
            selection.subgroups[part],
            pa.array(selection.scores[part]),
            pa.array(selection.members[part]),
            pa.array(selection.selected[part]),
        ]
        table = pa.Table.from_arrays(columns, schema=schema.INFORMATION)
        run.write_table(f"information/part-{number:05d}.parquet", table, stage, started)


def write_mixture(
    run: RunDirectory, conversations: Sequence[Part], selection: Selection, files: Sequence[str], stage: str
) -> None:
    """Write the chosen conversations in corpus order.

    A JSON corpus gives one JSON array of the original records; a Parquet corpus gives Parquet parts of the original
    columns, images included, one for each of its files that has a chosen conversation.

    Args:
        run: The run.
        conversations: Parts of the conversations.
        selection: What was chosen.
        files: The corpus files, in their order.
        stage: The stage's fingerprint.
    """
    started = monotonic()
    chosen = selection.rows[selection.selected]
    if not is_parquet(files[0]):
        with scratch_folder(run.url) as scratch, run.publish(MIXTURE_JSON) as stream:
            count = write_json_array(stream, _records(run, conversations, chosen, scratch))
        run.record(MIXTURE_JSON, count, stream, stage, started)
        return
    first = 0
    for number, file in enumerate(files):
        with open_parquet(locate(file)) as parquet:
            rows = parquet.metadata.num_rows
        local = chosen[(chosen >= first) & (chosen < first + rows)] - first
        first += rows
        if not len(local):
            continue
        path = f"mixture/part-{number:05d}.parquet"
        with run.publish(path) as stream, pq.ParquetWriter(stream, parquet_schema(file)) as writer:
            for batch in parquet_mixture(file, local):
                writer.write_batch(batch)
        run.record(path, len(local), stream, stage, started)


def _records(run: RunDirectory, conversations: Sequence[Part], chosen: np.ndarray, scratch: Path) -> Iterator[str]:
    """The records of the chosen rows in their order; memory holds some ten thousand of them at a time.

    The parts are in the order of shards, so they are first spread over files of neighbouring rows.
    """
    if not len(chosen):
        return
    bounds = chosen[SORTED_ROWS::SORTED_ROWS]
    files = [scratch / f"{number}.arrow" for number in range(len(bounds) + 1)]
    table_schema = pa.schema([schema.CONVERSATIONS.field("row"), schema.CONVERSATIONS.field("record")])
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(str(file), table_schema)) for file in files]
        for table in _tables(run, conversations, table_schema.names):
            rows = table["row"].to_numpy()
            wanted = _among(rows, chosen)
            bucket = np.searchsorted(bounds, rows, side="right")
            for number in np.unique(bucket[wanted]):
                writers[number].write_table(table.filter(pa.array(wanted & (bucket == number))))
    for file in files:
        with pa.memory_map(str(file)) as stream:
            table = pa.ipc.open_stream(stream).read_all().sort_by("row")
            for batch in table.to_batches(max_chunksize=1000):
                yield from batch.column("record").to_pylist()
        file.unlink()


def _tables(run: RunDirectory, parts: Sequence[Part], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of many parts, some parts at a time."""
    for first in range(0, len(parts), PARTS_AT_A_TIME):
        yield run.read_columns(parts[first : first + PARTS_AT_A_TIME], columns)


def _among(rows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Which of some rows are chosen, bool [rows]; `chosen` is sorted, and need not be gone through for few rows."""
    return np.searchsorted(chosen, rows, side="right") > np.searchsorted(chosen, rows)


@dataclass(frozen=True)
class Composition:
    """Conversations by format and by source folder, in the corpus and in the mixture."""

    corpus_formats: dict[str, int]
    corpus_folders: dict[str, int]
    mixture_formats: dict[str, int]
    mixture_folders: dict[str, int]


def composition(run: RunDirectory, conversations: Sequence[Part], selection: Selection) -> Composition:
    """Count corpus and mixture by format and source folder."""
    chosen = selection.rows[selection.selected]
    counts: Counter[tuple[str, str, bool]] = Counter()
    for table in _tables(run, conversations, ["row", "format", "image", "source"]):
        folders = map(source_folder, table["image"].to_pylist(), table["source"].to_pylist())
        wanted = _among(table["row"].to_numpy(), chosen).tolist()
        counts.update(zip(table["format"].to_pylist(), folders, wanted, strict=True))
    counters = [Counter(), Counter(), Counter(), Counter()]  # type: list[Counter[str]]
    for (format, folder, selected), count in counts.items():
        for counter, name in zip(counters, (format, folder) * (2 if selected else 1), strict=False):
            counter[name] += count
    return Composition(*(dict(sorted(counter.items())) for counter in counters))


def source_folder(image: str | None, source: str) -> str:
    """What a conversation's image comes from: the first folder of its path, or the corpus file it is embedded in."""
    if image is None:
        return "(no image)"
    if embedded_row(image, source) is not None:
        return posixpath.basename(source)
    return image.split("/", 1)[0] if "/" in image else "(top)"


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
