"""Signals, second half: the proxy scores a prepared shard, and its part is written."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray import schema
from ards_ray.config import Settings
from ards_ray.corpus.formats import FORMATS
from ards_ray.errors import ArdsError, reason_of
from ards_ray.models.family import ProxyModel
from ards_ray.models.scoring import score_sequences
from ards_ray.models.sequence import SequenceScore, TokenSequence
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.signals.image_files import image_files_digest
from ards_ray.signals.prepare import prepare_shard
from ards_ray.signals.prepared import PreparedConversation, PreparedShard
from ards_ray.signals.proxy import load_proxy, proxy_inputs


@dataclass(frozen=True)
class ScoredShard:
    """Scores of a shard.

    Attributes:
        scores: For each row those of its versions, the clean one first.
        splits: How often a batch was split because it could not be computed whole.
    """

    scores: dict[int, list[SequenceScore]]
    splits: int


def vector_width(model: ProxyModel, settings: Settings) -> int:
    """Numbers in a conversation vector."""
    return model.hidden_size * (2 if settings.proxy.vector == "attention" else 1)


def score_shard(
    model: ProxyModel, settings: Settings, shard: PreparedShard, vectors: Literal["clean", "all"] = "clean"
) -> ScoredShard:
    """Score all versions of a shard's conversations, with vectors of the clean ones or of all."""
    versions: list[TokenSequence] = []
    with_vector: list[bool] = []
    for conversation in shard.conversations:
        versions += conversation.versions
        with_vector += [vectors == "all" or not index for index in range(len(conversation.versions))]
    scored = score_sequences(
        model,
        versions,
        shard.pictures,
        with_vector,
        settings.proxy.vector == "attention",
        settings.runtime.batch_positions,
    )
    remaining = iter(scored.scores)
    scores = {item.row: [next(remaining) for _ in item.versions] for item in shard.conversations}
    return ScoredShard(scores, scored.splits)


def strongest(scores: list[SequenceScore]) -> SequenceScore | None:
    """The corrupted version with the largest loss gap, the first of equals, or None where nothing is corrupted."""
    return max(scores[1:], key=lambda score: abs(score.loss - scores[0].loss), default=None)


def signals_of(shard: PreparedShard, scored: ScoredShard, width: int) -> pa.Table:
    """A shard's rows of the signals table, those of another run among them."""
    table = signals_table([_signals_row(item, scored.scores[item.row]) for item in shard.conversations], width)
    return table if shard.taken is None else pa.concat_tables([table, shard.taken])


def write_scored(
    run: RunDirectory,
    settings: Settings,
    shard: PreparedShard,
    scored: ScoredShard,
    width: int,
    stage: str,
    started: float,
) -> int:
    """Write the signals part of a scored shard.

    Args:
        run: The run.
        settings: The run's settings.
        shard: The shard.
        scored: Its scores.
        width: Numbers in a conversation vector.
        stage: Fingerprint of the stage.
        started: When work on the part began.

    Returns:
        How many conversations were scored or taken over.
    """
    table = signals_of(shard, scored, width)
    taken = 0 if shard.taken is None else shard.taken.num_rows
    write_signals(run, settings, shard.name, table, stage, started, scored.splits, taken)
    return int(table.num_rows)


def killed_rows(rows: Sequence[int], width: int) -> pa.Table:
    """Rows of the signals table for conversations that kill the process that scores them."""
    failed = {"status": "failed", "error": "killed the process that scored it: twice, and alone"}
    return signals_table([{"row": row, **failed} for row in rows], width)


def write_signals(
    run: RunDirectory,
    settings: Settings,
    name: str,
    table: pa.Table,
    stage: str,
    started: float,
    splits: int,
    taken: int = 0,
) -> Part:
    """Write the signals part of a shard.

    Rows stand by format, each format a row group, so that one format's vectors can be read alone. Where the part is
    there already its other rows are kept: that is how failed rows are scored again. Its entry may be gone, if a process
    was killed over it, but the file is whole and of this stage: others were deleted when the stage began.

    Args:
        run: The run.
        settings: The run's settings.
        name: Name of the part.
        table: Its rows.
        stage: Fingerprint of the stage.
        started: When work on the part began.
        splits: How often something was computed in halves because it could not be computed whole.
        taken: Rows that come from another run.

    Raises:
        ArdsError: the part that has the other rows is gone.
    """
    path = f"signals/{name}.parquet"
    conversations = run.read_table(f"conversations/{name}.parquet", ["row", "format", "images", "source"])
    if table.num_rows < conversations.num_rows and run.exists(path):
        kept = run.read_table(path)
        before = run.part(path)
        table = pa.concat_tables([kept.filter(pc.invert(pc.is_in(kept["row"], table["row"]))), table])
        splits += before.details["splits"] if before else 0
        taken += before.details["taken"] if before else 0
    if table.num_rows != conversations.num_rows:
        raise ArdsError(
            f"{run.url}/{path}: scored {table.num_rows} of {conversations.num_rows} conversations, and the part with "
            "the others is gone; run the same command again"
        )
    images = image_files_digest(settings, conversations, table.filter(pc.equal(table["status"], "ok"))["row"])
    details = {"splits": splits, "taken": taken, "images": images}
    return write_signals_table(run, path, _by_format(table, conversations), stage, started, details)


def write_signals_table(
    run: RunDirectory, path: str, table: pa.Table, stage: str, started: float, details: Mapping[str, Any]
) -> Part:
    """Write a signals part, each format a row group, with the counts that later stages need.

    Args:
        run: The run.
        path: Path of the part.
        table: Its rows with a column `format`, in the order of formats.
        stage: Fingerprint of the stage.
        started: When work on the part began.
        details: Further details of the part.
    """
    formats = table["format"].to_pylist()
    status = table["status"].to_pylist()
    attacks = table["corruption"].to_pylist()
    scored_formats = [name for name, state in zip(formats, status, strict=True) if state == "ok"]
    row_groups = Counter(formats)
    counts = {
        "ok": len(scored_formats),
        "failed": len(status) - len(scored_formats),
        "reasons": dict(Counter(reason_of(error) for error in table["error"].to_pylist() if error is not None)),
        "formats": dict(row_groups),
        "width": table["vector"].type.list_size,
        "scored": dict(Counter(scored_formats)),
        "attacked": dict(
            Counter(
                name
                for name, state, attack in zip(formats, status, attacks, strict=True)
                if state == "ok" and attack is not None
            )
        ),
    }
    return run.write_table(
        path,
        table.drop_columns(["format"]),
        stage,
        started,
        {**counts, **details},
        row_groups=list(row_groups.values()),
    )


def signals_table(rows: list[dict[str, Any]], width: int) -> pa.Table:
    """Rows of the signals table; the vector of a failed row is null."""
    table_schema = schema.signals(width)
    vectors = np.zeros((len(rows), width), dtype=np.float16)
    for index, row in enumerate(rows):
        if row["status"] == "ok":
            vectors[index] = row["vector"]
    columns = []
    for field in table_schema:
        if field.name == "vector":
            missing = pa.array([row["status"] != "ok" for row in rows], type=pa.bool_())
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), width, mask=missing))
        else:
            columns.append(pa.array([row.get(field.name) for row in rows], type=field.type))
    return pa.Table.from_arrays(columns, schema=table_schema)


def _signals_row(item: PreparedConversation, scores: list[SequenceScore]) -> dict[str, Any]:
    error = item.error or next((score.error for score in scores if score.error), None)
    if error is not None:
        return {"row": item.row, "status": "failed", "error": error, "corruption": item.attack}
    clean, corrupted = scores[0], strongest(scores)
    return {
        "row": item.row,
        "status": "ok",
        "vector": clean.vector,
        "clean_loss": clean.loss,
        "corrupted_loss": corrupted.loss if corrupted else None,
        "clean_correct": clean.correct,
        "corrupted_correct": corrupted.correct if corrupted else None,
        "corruption": item.attack,
        "target_tokens": int(item.versions[0].targets.sum()),
        "sequence_length": len(item.versions[0]),
        "content": item.content,
    }


def _by_format(table: pa.Table, conversations: pa.Table) -> pa.Table:
    """The table with a column `format`, rows in the order of formats and within them of rows."""
    of_row = dict(zip(conversations["row"].to_pylist(), conversations["format"].to_pylist(), strict=True))
    rows = table["row"].to_pylist()
    order = sorted(range(len(rows)), key=lambda index: (FORMATS.index(of_row[rows[index]]), rows[index]))
    table = table.append_column("format", pa.array([of_row[row] for row in rows], type=pa.string()))
    return table.take(pa.array(order, type=pa.int64())).combine_chunks()


def score_corrupted(settings: Settings, output: str, rows: Mapping[str, Sequence[int]], model: str) -> dict[int, Any]:
    """Vectors float16 [d] of the corrupted versions of a few conversations, given by shard."""
    run = RunDirectory(output)
    proxy = load_proxy(settings, model)
    vectors = {}
    for name, wanted in rows.items():
        shard = prepare_shard(run, name, settings, proxy_inputs(str(settings.proxy.model)), set(wanted))
        for row, scores in score_shard(proxy, settings, shard, vectors="all").scores.items():
            best = strongest(scores)
            if best is not None and best.vector is not None:
                vectors[row] = best.vector.astype("float16")
    return vectors
