"""Conversations: the corpus as a table, in shards that hold all conversations about an image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ards_ray.corpus.conversation import Conversation, check_single, parse_conversation
from ards_ray.errors import ConversationError
from ards_ray.run.directory import Part
from ards_ray.run.table import Table


@dataclass(frozen=True)
class ConversationsDetails:
    """What the manifest notes of a part.

    Attributes:
        formats: Its conversations of each format.
        sources: The corpus files that they come from.
    """

    formats: dict[str, int]
    sources: list[str]


CONVERSATIONS = Table(
    "conversations",
    lambda width: pa.schema(
        [
            pa.field("row", pa.int64(), nullable=False),
            pa.field("id", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("format", pa.string(), nullable=False),
            pa.field("images", pa.list_(pa.string()), nullable=False),
            pa.field("record", pa.large_string(), nullable=False),
        ]
    ),
    ConversationsDetails,
)


def corpus_formats(parts: Sequence[Part[ConversationsDetails]]) -> dict[str, int]:
    """Conversations of each format in the corpus."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.details.formats)
    return dict(sorted(counts.items()))


def conversation_of(entry: Mapping[str, Any]) -> Conversation:
    """The conversation in a row of the table, as the model families can show it.

    Raises:
        ConversationError: it cannot be scored; says why.
    """
    check_single(entry["images"])
    conversation = parse_conversation(entry["row"], entry["format"], entry["images"], entry["record"])
    if conversation.images != tuple(entry["images"]):
        # The reader leaves out what a record itself names in the way of an embedded image.
        raise ConversationError("image is not a path", conversation.images[0])
    return conversation
