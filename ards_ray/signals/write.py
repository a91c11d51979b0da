"""Signals, third step: the parts of a scored shard are written, one for each signal."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.corpus.formats import FORMATS
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.errors import ArdsError, reason_of
from ards_ray.models.sequence import SequenceScore
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.run.workers import Wanted
from ards_ray.signals.clean import CLEAN
from ards_ray.signals.image_files import image_files_digest
from ards_ray.signals.prepared import PreparedShard
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.score import ScoredShard
from ards_ray.signals.signal import FAILED, NONE, OK, Scores, Signal, SignalDetails
from ards_ray.signals.work import SignalWork

KILLED = "killed the process that scored it: twice, and alone"


@dataclass(frozen=True)
class ShardRows:
    """Rows of a shard for the tables of signals.

    Attributes:
        tables: The rows by signal.
        splits: How often something was computed in halves because it could not be computed whole.
        reused: How many rows of each signal come from another run.
    """

    tables: Mapping[str, pa.Table]
    splits: int
    reused: Mapping[str, int]


def rows_of(run: RunDirectory, shard: PreparedShard, scored: ScoredShard) -> ShardRows:
    """The rows of a scored shard, those of another run among them."""
    known = _known_losses(run, shard)
    scores = [_with_clean(item, known) for item in scored.scores]
    tables = {}
    for name in shard.signals:
        signal = SIGNALS[name]
        rows = [signal.row(item) for item in scores if name in item.item.signals]
        tables[name] = _table(signal, rows, scored.width)
        if name in shard.reused:
            tables[name] = pa.concat_tables([tables[name], shard.reused[name]])
    return ShardRows(tables, scored.splits, {name: table.num_rows for name, table in shard.reused.items()})


def killed_rows(wanted: Mapping[str, Sequence[int]], width: int) -> ShardRows:
    """Rows for conversations that kill the process that scores them, given by signal."""
    tables = {
        name: _table(SIGNALS[name], [{"row": row, "status": FAILED, "error": KILLED} for row in rows], width)
        for name, rows in wanted.items()
    }
    return ShardRows(tables, 0, {})


def joined(pieces: Sequence[ShardRows], splits: int) -> ShardRows:
    """Rows of a shard that was scored in pieces, and how often something was cut for it."""
    names = dict.fromkeys(name for piece in pieces for name in piece.tables)
    reused = sum((Counter(piece.reused) for piece in pieces), Counter())  # type: Counter[str]
    tables = {
        name: pa.concat_tables([piece.tables[name] for piece in pieces if name in piece.tables]) for name in names
    }
    return ShardRows(tables, splits + sum(piece.splits for piece in pieces), reused)


def write_shard(work: SignalWork, name: str, rows: ShardRows, started: float) -> int:
    """Write the parts of a shard, one for each signal that was computed.

    Where a part is there already its other rows are kept: that is how failed rows are computed again and further ones
    are added. Its entry may be gone, if a process was killed over it, but the file is whole and of this stage: others
    were deleted when the stage began.

    Args:
        work: What was computed.
        name: Name of the shard.
        rows: Its rows.
        started: When work on the shard began.

    Returns:
        How many conversations have new rows.

    Raises:
        ArdsError: the part that has the other rows is gone.
    """
    run = RunDirectory(work.output)
    conversations = CONVERSATIONS.read(run, name, ["row", "format", "images", "source"])
    for signal_name, table in rows.tables.items():
        signal, stamp = SIGNALS[signal_name], work.stamps[signal_name]
        splits, reused = rows.splits, rows.reused.get(signal_name, 0)
        together = {name: work.generations.get(name, 1) for name in rows.tables}
        if table.num_rows < conversations.num_rows and run.exists(signal.table.path(name)):
            kept = signal.table.read(run, name)
            before = signal.table.part(run, name)
            table = pa.concat_tables([kept.filter(pc.invert(pc.is_in(kept["row"], table["row"]))), table])
            splits += before.details.splits if before else 0
            reused += before.details.reused if before else 0
            together = {**(before.details.together if before else {}), **together}
        if table.num_rows != conversations.num_rows and not work.some_rows:
            raise ArdsError(
                f"{run.url}/{signal.table.path(name)}: scored {table.num_rows} of {conversations.num_rows} "
                "conversations, and the part with the others is gone; run the same command again"
            )
        computed = table.filter(pc.equal(table["status"], OK))["row"]
        images = image_files_digest(work.settings, conversations, computed)
        details = SignalDetails(splits=splits, reused=reused, images=images, together=together)
        write_part(run, signal, name, _by_format(table, conversations), stamp, started, details)
    return max((table.num_rows for table in rows.tables.values()), default=0)


def write_part(
    run: RunDirectory, signal: Signal, name: str, table: pa.Table, stamp: str, started: float, details: SignalDetails
) -> Part[SignalDetails]:
    """Write a signal's part, each format a row group, with the counts that later stages need.

    Args:
        run: The run.
        signal: The signal.
        name: Name of the part.
        table: Its rows with a column `format`, in the order of formats.
        stamp: Fingerprint of the signal.
        started: When work on the part began.
        details: Details of the part beside its counts.
    """
    formats = table["format"].to_pylist()
    status = table["status"].to_pylist()
    scored = [name for name, state in zip(formats, status, strict=True) if state == OK]
    row_groups = Counter(formats)
    counted = replace(
        details,
        ok=len(scored),
        failed=status.count(FAILED),
        none=status.count(NONE),
        reasons=dict(Counter(reason_of(error) for error in table["error"].to_pylist() if error is not None)),
        formats=dict(row_groups),
        scored=dict(Counter(scored)),
        width=table["vector"].type.list_size if signal.has_vectors else 0,
    )
    groups = list(row_groups.values()) if signal.has_vectors else ()
    return signal.table.write(run, name, table.drop_columns(["format"]), stamp, started, counted, groups)


def written_shards(work: SignalWork, shards: Mapping[str, Wanted]) -> dict[str, int]:
    """Those of some shards of which all that is asked is written, where all rows are asked, and their conversations."""
    counts: Counter[str] = Counter()
    rows = {}
    for name, stamp in work.stamps.items():
        for part in SIGNALS[name].table.parts(RunDirectory(work.output)):
            wanted = shards.get(part.name, {})
            if part.fingerprint == stamp and name in wanted and wanted[name] is None:
                counts[part.name] += 1
                rows[part.name] = part.rows
    return {shard: count for shard, count in rows.items() if counts[shard] == len(shards[shard])}


def _known_losses(run: RunDirectory, shard: PreparedShard) -> dict[int, SequenceScore]:
    """What an earlier pass or another run says of the clean versions that corrupted ones are compared with."""
    if all(item.clean is not None for item in shard.conversations if item.corrupted):
        return {}
    tables = [shard.reused[CLEAN.name]] if CLEAN.name in shard.reused else []
    if run.exists(CLEAN.table.path(shard.name)):
        tables.append(CLEAN.table.read(run, shard.name))
    columns = ["row", "clean_loss", "error"]
    rows: Iterable[dict[str, Any]] = (row for table in tables for row in table.select(columns).to_pylist())
    return {
        row["row"]: SequenceScore(error=row["error"]) if row["error"] else SequenceScore(loss=row["clean_loss"])
        for row in rows
    }


def _with_clean(scores: Scores, known: Mapping[int, SequenceScore]) -> Scores:
    if scores.clean is not None or not scores.corrupted:
        return scores
    return replace(scores, clean=known[scores.item.row])


def _table(signal: Signal, rows: Sequence[Mapping[str, Any]], width: int) -> pa.Table:
    """Rows of a signal's table; the vector of a row without the signal is null."""
    schema = signal.table.schema(width)
    columns = []
    for field in schema:
        if field.name == "vector":
            vectors = np.zeros((len(rows), width), dtype=np.float16)
            for index, row in enumerate(rows):
                if row["status"] == OK:
                    vectors[index] = row["vector"]
            missing = pa.array([row["status"] != OK for row in rows], type=pa.bool_())
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), width, mask=missing))
        else:
            columns.append(pa.array([row.get(field.name) for row in rows], type=field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _by_format(table: pa.Table, conversations: pa.Table) -> pa.Table:
    """The table with a column `format`, rows in the order of formats and within them of rows."""
    of_row = dict(zip(conversations["row"].to_pylist(), conversations["format"].to_pylist(), strict=True))
    rows = table["row"].to_pylist()
    order = sorted(range(len(rows)), key=lambda index: (FORMATS.index(of_row[rows[index]]), rows[index]))
    table = table.append_column("format", pa.array([of_row[row] for row in rows], type=pa.string()))
    return table.take(pa.array(order, type=pa.int64())).combine_chunks()
