"""Signals of another run, found by what was scored: the conversation's text and its image's bytes."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.corpus.conversation import Conversation
from ards_ray.errors import SettingsError
from ards_ray.run.directory import RUN_FILE, RunDirectory
from ards_ray.run.fingerprint import Inputs, changes
from ards_ray.run.state import RunState
from ards_ray.run.vectors import vector_column
from ards_ray.signals.clean import CLEAN
from ards_ray.signals.former import former_inputs, former_parts, former_table, is_former
from ards_ray.signals.inputs import comparable
from ards_ray.signals.read_vectors import VectorsPart, places_of_scored, read_places
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.signal import FAILED, OK, Signal

DIGEST_BYTES = 32


def content_of(conversation: Conversation, images: Sequence[bytes]) -> bytes:
    """What scores depend on besides the settings, as 32 bytes: two conversations with the same have the same scores.

    Args:
        conversation: The conversation.
        images: Digests of its image files' bytes.
    """
    rounds = [[round.question, round.answer] for round in conversation.rounds]
    text = json.dumps([conversation.format, rounds]).encode()
    return hashlib.sha256(hashlib.sha256(text).digest() + b"".join(images)).digest()


@dataclass(frozen=True)
class EarlierSignal:
    """A signal's rows in another run.

    Attributes:
        rows: Its columns but row, error and vector, by row; where it has vectors, part (which of the parts) and place
            (among the part's rows with a vector) beside them.
        parts: Its parts, where it has vectors.
    """

    rows: pa.Table
    parts: tuple[VectorsPart, ...]


@dataclass(frozen=True)
class Earlier:
    """What another run has computed.

    Attributes:
        url: The run.
        contents: Columns content and, for each signal, its name: which of the signal's rows has it, null where none
            has. Sorted by content.
        signals: The signals' rows.
    """

    url: str
    contents: pa.Table
    signals: Mapping[str, EarlierSignal]

    def find(self, content: bytes) -> dict[str, int]:
        """Which row of each signal has a content; signals that have none are left out."""
        digests = self._digests
        # As an array: of a single value numpy takes zeros at the end for padding.
        wanted = np.array([content], digests.dtype)
        (place,) = np.searchsorted(digests, wanted).tolist()
        if not (digests[place : place + 1] == wanted).any():
            return {}
        found = {name: self.contents[name][place].as_py() for name in self.signals}
        return {name: row for name, row in found.items() if row is not None}

    @property
    def _digests(self) -> np.ndarray:
        column = self.contents["content"]
        if not len(column):
            return np.empty(0, f"S{DIGEST_BYTES}")
        (chunk,) = column.chunks
        return np.frombuffer(chunk.buffers()[1], f"S{DIGEST_BYTES}", len(chunk), chunk.offset * DIGEST_BYTES)

    def take(self, name: str, found: Sequence[int], rows: Sequence[int]) -> pa.Table:
        """Some rows of a signal as rows of its table in the new run.

        Args:
            name: The signal.
            found: Which of its rows.
            rows: Their positions in the new corpus.
        """
        signal, earlier = SIGNALS[name], self.signals[name]
        taken = earlier.rows.take(pa.array(found, type=pa.int64()))
        count = len(found)
        values = {"row": pa.array(rows, type=pa.int64()), "error": pa.nulls(count, pa.string())}
        width = earlier.parts[0].details.width if earlier.parts else 0
        if signal.has_vectors:
            run = RunDirectory(self.url)
            parts, places = taken["part"].to_numpy(), taken["place"].to_numpy()
            vectors = np.empty((count, width), np.float16)
            for part in np.unique(parts).tolist():
                mine = np.flatnonzero(parts == part)
                vectors[mine] = read_places(run, earlier.parts[part], places[mine].tolist())
            values["vector"] = vector_column(vectors, width)
        table_schema = signal.table.schema(width)
        columns = [values[field.name] if field.name in values else taken[field.name] for field in table_schema]
        return pa.table(columns, schema=table_schema).combine_chunks()


@dataclass(frozen=True)
class OtherRun:
    """The signals of another run.

    Attributes:
        run: The run.
        inputs: What each of its signals depends on, by signal.
        rows: Reads a signal's rows.
    """

    run: RunDirectory
    inputs: Mapping[str, Inputs]
    rows: Callable[[Signal], EarlierSignal]


def other_run(url: str) -> OtherRun:
    """The signals of a run, finished or not, also of one of the layout before this one.

    Raises:
        SettingsError: it is no run.
    """
    run = RunDirectory(url)
    if not run.exists(RUN_FILE):
        raise SettingsError(f"runtime.reuse: {run.url} is no run")
    if is_former(run):
        return OtherRun(run, former_inputs(run), partial(_former_rows, run))
    state = RunState(run)
    inputs = {
        name: state.stages[signal.stage].inputs for name, signal in SIGNALS.items() if signal.stage in state.stages
    }
    return OtherRun(run, inputs, partial(_rows, run, state))


def usable_signals(other: OtherRun, inputs: Mapping[str, Inputs]) -> tuple[str, ...]:
    """The signals of another run that may be taken over.

    Args:
        other: The other run.
        inputs: What this run's signals depend on, by signal.

    Raises:
        SettingsError: it has none that was made with this proxy and these settings.
    """
    if not other.inputs:
        raise SettingsError(f"runtime.reuse: {other.run.url} has no signals yet")
    differences = {
        name: changes(comparable(other.inputs[name]), comparable(inputs[name]))
        for name in inputs
        if name in other.inputs
    }
    usable = tuple(name for name, found in differences.items() if not found)
    if CLEAN.name not in usable:
        found = list(dict.fromkeys(line for lines in differences.values() for line in lines))
        raise SettingsError(
            f"runtime.reuse: the signals of {other.run.url} were made with another proxy or other settings:\n  "
            + "\n  ".join(found)
        )
    return usable


def earlier_signals(other: OtherRun, names: Sequence[str]) -> Earlier:
    """What another run has computed of some signals; see `usable_signals`. The clean losses tell which rows are whose.

    Args:
        other: The other run.
        names: The signals.
    """
    signals = {name: other.rows(SIGNALS[name]) for name in names}
    clean = signals[CLEAN.name].rows
    contents = pa.table({"row": clean["row"], "content": clean["content"]}).sort_by("content").combine_chunks()
    rows = contents["row"].to_numpy()
    columns = {"content": contents["content"]}
    for name, signal in signals.items():
        have = signal.rows["row"].to_numpy()
        places = np.searchsorted(have, rows)
        missing = have[np.minimum(places, max(len(have) - 1, 0))] != rows if len(have) else np.ones(len(rows), bool)
        columns[name] = pa.array(places, mask=missing, type=pa.int64())
    kept = {name: EarlierSignal(one.rows.drop_columns(["row"]), one.parts) for name, one in signals.items()}
    return Earlier(other.run.url, pa.table(columns).combine_chunks(), kept)


def _rows(run: RunDirectory, state: RunState, signal: Signal) -> EarlierSignal:
    stamp = state.stages[signal.stage].fingerprint
    parts = [part for part in signal.table.parts(run) if part.fingerprint == stamp]
    names = _columns(signal)
    table = run.read_columns(parts, names) if parts else signal.table.schema(1).empty_table().select(names)
    return _earlier(signal, table, parts)


def _former_rows(run: RunDirectory, signal: Signal) -> EarlierSignal:
    parts = former_parts(run)
    names = _columns(signal)
    table = former_table(run, parts, names) if parts else signal.table.schema(1).empty_table().select(names)
    return _earlier(signal, table, parts)


def _columns(signal: Signal) -> list[str]:
    return [field.name for field in signal.table.schema(1) if field.name not in ("error", "vector")]


def _earlier(signal: Signal, table: pa.Table, parts: Sequence[VectorsPart]) -> EarlierSignal:
    """A signal's rows, given its columns in the order of its parts."""
    if not signal.has_vectors:
        table = table.filter(pc.not_equal(table["status"], FAILED))
        return EarlierSignal(table.sort_by("row").combine_chunks(), ())
    table = table.filter(pc.equal(table["status"], OK))
    part_index, places = places_of_scored(parts)
    table = table.append_column("part", pa.array(part_index, type=pa.int32()))
    table = table.append_column("place", pa.array(places, type=pa.int64()))
    return EarlierSignal(table.sort_by("row").combine_chunks(), tuple(parts))
