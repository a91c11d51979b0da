"""Signals: what a model says of a conversation, each in a table of its own with a fingerprint of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from ards_ray.config import Settings
from ards_ray.models.sequence import SequenceScore
from ards_ray.run.stage import SIGNALS_FOLDER
from ards_ray.run.table import Table
from ards_ray.signals.prepared import PreparedConversation

OK, FAILED, NONE = "ok", "failed", "none"
# The columns that every signal's table begins with. A row is `none` where the signal does not apply to it.
_COMMON = (
    pa.field("row", pa.int64(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    pa.field("error", pa.string()),
)


@dataclass(frozen=True)
class SignalDetails:
    """What the manifest notes of a signal's part.

    Attributes:
        ok: Rows with the signal.
        failed: Rows that could not be computed.
        none: Rows that the signal does not apply to.
        reasons: Failed rows by reason.
        formats: Rows of each format, in the order in which they stand.
        scored: Those of them with the signal.
        splits: How often something was computed in halves because it could not be computed whole.
        reused: Rows that come from another run.
        images: Digest of the image files that were read (`image_files_digest`).
        width: Numbers in a vector; 0 for a signal without vectors.
        together: The signals that were computed in the same pass, and the generation of each (`StageRecord`).
    """

    ok: int = 0
    failed: int = 0
    none: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    scored: dict[str, int] = field(default_factory=dict)
    splits: int = 0
    reused: int = 0
    images: str = ""
    width: int = 0
    together: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """What the model said of a conversation.

    Attributes:
        item: The conversation as it was made ready.
        clean: Of the clean version; where an earlier pass scored it, its loss alone.
        corrupted: Of its corrupted versions.
    """

    item: PreparedConversation
    clean: SequenceScore | None
    corrupted: Sequence[SequenceScore]


@dataclass(frozen=True)
class Signal:
    """A signal.

    Attributes:
        name: Its name; its table is the folder `signals/NAME`.
        version: Raised when its code changes its numbers.
        columns: Its own columns, given the length of its vectors.
        versions: Which versions of a conversation the model reads for it.
        depends: What of the settings its numbers depend on, beside what every signal depends on.
        values: Its columns of a conversation; None where the signal does not apply to it.
        has_vectors: Whether it has a column `vector`.
    """

    name: str
    version: int
    columns: Callable[[int], Sequence[pa.Field]]
    versions: Literal["clean", "corrupted"]
    depends: Callable[[Settings], Mapping[str, Any]]
    values: Callable[[Scores], Mapping[str, Any] | None]
    has_vectors: bool = False

    @property
    def stage(self) -> str:
        """Its name among the stages of a run, which is the folder of its table."""
        return f"{SIGNALS_FOLDER}/{self.name}"

    @property
    def table(self) -> Table[SignalDetails]:
        """Its table."""
        return Table(self.stage, self._schema, SignalDetails)

    def _schema(self, width: int) -> pa.Schema:
        return pa.schema([*_COMMON, *self.columns(width)])

    def row(self, scores: Scores) -> dict[str, Any]:
        """The row of a conversation."""
        of_versions = scores.corrupted if self.versions == "corrupted" else ()
        of_clean = [scores.clean] if scores.clean is not None else []
        error = scores.item.error or next((score.error for score in (*of_clean, *of_versions) if score.error), None)
        if error is not None:
            return {"row": scores.item.row, "status": FAILED, "error": error}
        values = self.values(scores)
        return {"row": scores.item.row, "status": NONE if values is None else OK, **(values or {})}
