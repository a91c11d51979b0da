"""Conversations: the corpus as a table, in shards that hold all conversations about an image."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ards_ray import schema
from ards_ray.config import Settings
from ards_ray.corpus.conversation import Conversation, check_single, parse_conversation
from ards_ray.corpus.readers import read_corpus
from ards_ray.corpus.shards import shard_corpus
from ards_ray.corruption.attack import corrupt
from ards_ray.errors import ConversationError
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.run.table import Table
from ards_ray.storage.scratch import scratch_folder


@dataclass(frozen=True)
class ConversationsDetails:
    """What the manifest notes of a part: its conversations of each format."""

    formats: dict[str, int]


CONVERSATIONS = Table("conversations", lambda width: schema.CONVERSATIONS, ConversationsDetails)


def write_conversations(run: RunDirectory, settings: Settings, stage: str) -> Iterator[Part]:
    """Write the conversations parts, yielding each.

    Raises:
        CorpusError: a corpus file cannot be read.
    """
    with scratch_folder(run.url) as scratch:
        entries = read_corpus(settings.corpus.files)
        started = monotonic()
        for number, table in enumerate(shard_corpus(entries, settings.runtime.shard_size, scratch)):
            details = ConversationsDetails(dict(Counter(table["format"].to_pylist())))
            yield CONVERSATIONS.write(run, f"part-{number:05d}", table, stage, started, details)
            started = monotonic()


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


def attack_on(entry: Mapping[str, Any], settings: Settings) -> str | None:
    """The attack that applies to a row of the conversations; None where there is none, or it cannot be scored."""
    try:
        corruption = corrupt(conversation_of(entry), settings.attacks, settings.seed)
    except ConversationError:
        return None
    return corruption.attack if corruption else None
