"""A shard made ready for the proxy, and its way to the actor as one row of plain Arrow values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ards_ray.models.sequence import Picture, TokenSequence


@dataclass(frozen=True)
class PreparedConversation:
    """A conversation of the shard.

    Attributes:
        row: Position in the corpus.
        signals: Names of the signals to compute of it.
        attack: The attack on it, or None.
        error: Why it cannot be scored, or None.
        clean: The sequence of its clean version, None where no signal needs it.
        corrupted: Those of its corrupted versions, where a signal needs them.
        content: Digest of what is scored (`content_of`), None where it cannot be.
    """

    row: int
    signals: tuple[str, ...]
    attack: str | None = None
    error: str | None = None
    clean: TokenSequence | None = None
    corrupted: tuple[TokenSequence, ...] = ()
    content: bytes | None = None

    @property
    def versions(self) -> tuple[TokenSequence, ...]:
        """All of its sequences, the clean one first."""
        return self.corrupted if self.clean is None else (self.clean, *self.corrupted)


@dataclass(frozen=True)
class PreparedShard:
    """All that the proxy needs of a shard.

    Attributes:
        name: Name of its part.
        signals: Names of the signals whose parts are written.
        conversations: Those to score, in row order.
        pictures: Those of its sequences, noised ones among them.
        reused: Rows of signals' tables that another run has computed, by signal.
    """

    name: str
    signals: tuple[str, ...] = ()
    conversations: tuple[PreparedConversation, ...] = ()
    pictures: tuple[Picture, ...] = ()
    reused: Mapping[str, pa.Table] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        """One row for Ray Data: a shard arrives whole or not at all, and nothing in it is pickled."""
        table = pa.Table.from_pylist(
            [
                {
                    "row": item.row,
                    "signals": list(item.signals),
                    "clean": item.clean is not None,
                    "attack": item.attack,
                    "error": item.error,
                    "ids": [version.ids for version in item.versions],
                    "targets": [version.targets for version in item.versions],
                    "images": [version.image for version in item.versions],
                    "content": item.content,
                }
                for item in self.conversations
            ],
            schema=_SCHEMA,
        )
        return {
            "name": self.name,
            "conversations": to_bytes(table),
            "signals": list(self.signals),
            "reused": list(self.reused),
            "tables": [to_bytes(table) for table in self.reused.values()],
            "shapes": np.array([(*item.pixels.shape, *item.size) for item in self.pictures], dtype=np.int64).ravel(),
            "pixels": b"".join(item.pixels.data for item in self.pictures),
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "PreparedShard":
        table = pa.ipc.open_stream(row["conversations"]).read_all()
        conversations = []
        for item in table.to_batches():
            columns = {name: item.column(name) for name in item.schema.names}
            for index in range(item.num_rows):
                versions = [
                    TokenSequence(ids.values.to_numpy(), targets.values.to_numpy(zero_copy_only=False), image.as_py())
                    for ids, targets, image in zip(
                        columns["ids"][index].values,
                        columns["targets"][index].values,
                        columns["images"][index],
                        strict=True,
                    )
                ]
                clean = [versions.pop(0)] if columns["clean"][index].as_py() else [None]
                conversations.append(
                    PreparedConversation(
                        row=columns["row"][index].as_py(),
                        signals=tuple(columns["signals"][index].as_py()),
                        attack=columns["attack"][index].as_py(),
                        error=columns["error"][index].as_py(),
                        clean=clean[0],
                        corrupted=tuple(versions),
                        content=columns["content"][index].as_py(),
                    )
                )
        pictures, start = [], 0
        for *shape, height, width in row["shapes"].reshape(-1, 6).tolist():
            count = math.prod(shape)
            pixels = np.frombuffer(row["pixels"], dtype=np.uint8, count=count, offset=start).reshape(shape)
            pictures.append(Picture(pixels, (height, width)))
            start += count
        tables = (pa.ipc.open_stream(table).read_all() for table in row["tables"])
        reused = dict(zip(row["reused"], tables, strict=True))
        return cls(row["name"], tuple(row["signals"]), tuple(conversations), tuple(pictures), reused)


def to_bytes(table: pa.Table) -> bytes:
    """A table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("signals", pa.list_(pa.string())),
        ("clean", pa.bool_()),
        ("attack", pa.string()),
        ("error", pa.string()),
        ("ids", pa.list_(pa.list_(pa.int32()))),
        ("targets", pa.list_(pa.list_(pa.bool_()))),
        ("images", pa.list_(pa.int32())),
        ("content", pa.binary(32)),
    ]
)
