"""Scored rows of another run, found by what was scored: the conversation's text and its image's bytes."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray import schema
from ards_ray.corpus.conversation import Conversation
from ards_ray.errors import SettingsError
from ards_ray.run.directory import RUN_FILE, Part, RunDirectory
from ards_ray.run.fingerprint import Inputs, changes
from ards_ray.run.state import RunState
from ards_ray.signals.inputs import comparable
from ards_ray.signals.vectors import places_of_scored, read_places

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
class Earlier:
    """The scored rows of another run.

    Attributes:
        url: The run.
        parts: Its signals parts.
        rows: A row for each: content, part (which of the parts), place (among the part's scored rows) and the columns
            of the signals table but row, status, error and vector; sorted by content.
    """

    url: str
    parts: tuple[Part, ...]
    rows: pa.Table

    def find(self, content: bytes) -> int | None:
        """Which of the rows has a content, None if none has."""
        digests = self._digests
        # As an array: of a single value numpy takes zeros at the end for padding.
        wanted = np.array([content], digests.dtype)
        (place,) = np.searchsorted(digests, wanted).tolist()
        return place if (digests[place : place + 1] == wanted).any() else None

    @property
    def _digests(self) -> np.ndarray:
        column = self.rows["content"]
        if not len(column):
            return np.empty(0, f"S{DIGEST_BYTES}")
        (chunk,) = column.chunks
        return np.frombuffer(chunk.buffers()[1], f"S{DIGEST_BYTES}", len(chunk), chunk.offset * DIGEST_BYTES)

    def take(self, found: Sequence[int], rows: Sequence[int]) -> pa.Table:
        """Some of the rows as rows of the signals table.

        Args:
            found: Which of them.
            rows: Their positions in the new corpus.
        """
        run = RunDirectory(self.url)
        width = self.parts[0].details["width"]
        taken = self.rows.take(pa.array(found, type=pa.int64()))
        parts, places = taken["part"].to_numpy(), taken["place"].to_numpy()
        vectors = np.empty((len(found), width), np.float16)
        for part in np.unique(parts).tolist():
            mine = np.flatnonzero(parts == part)
            vectors[mine] = read_places(run, self.parts[part], places[mine].tolist())
        count = len(found)
        values = {
            "row": pa.array(rows, type=pa.int64()),
            "status": pa.array(["ok"] * count),
            "error": pa.nulls(count, pa.string()),
            "vector": schema.vector_column(vectors, width),
        }
        table_schema = schema.signals(width)
        columns = [values[field.name] if field.name in values else taken[field.name] for field in table_schema]
        return pa.table(columns, schema=table_schema).combine_chunks()


def check_earlier(run: RunDirectory, inputs: Inputs) -> str:
    """The fingerprint of another run's signals.

    Args:
        run: The other run, finished or not.
        inputs: What this run's signals depend on.

    Raises:
        SettingsError: it is no run, has no signals, or they were made with another proxy or other settings.
    """
    if not run.exists(RUN_FILE):
        raise SettingsError(f"runtime.reuse: {run.url} is no run")
    record = RunState(run).stages.get("signals")
    if record is None:
        raise SettingsError(f"runtime.reuse: {run.url} has no signals yet")
    differences = changes(comparable(record.inputs), comparable(inputs))
    if differences:
        raise SettingsError(
            f"runtime.reuse: the signals of {run.url} were made with another proxy or other settings:\n  "
            + "\n  ".join(differences)
        )
    return record.fingerprint


def earlier_rows(run: RunDirectory, inputs: Inputs) -> Earlier:
    """The scored rows of another run; see `check_earlier`."""
    stamp = check_earlier(run, inputs)
    parts = [part for part in run.parts("signals") if part.fingerprint == stamp]
    kept = [name for name in schema.signals(1).names if name not in ("row", "error", "vector")]
    table = run.read_columns(parts, kept) if parts else schema.signals(1).empty_table().select(kept)
    table = table.filter(pc.equal(table["status"], "ok")).drop_columns(["status"])
    part_index, places = places_of_scored(parts)
    table = table.append_column("part", pa.array(part_index, type=pa.int32()))
    table = table.append_column("place", pa.array(places, type=pa.int64()))
    return Earlier(run.url, tuple(parts), table.sort_by("content").combine_chunks())
