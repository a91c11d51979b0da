"""Conversations: the corpus as a table, in shards that hold all conversations about an image."""

from collections import Counter
from collections.abc import Iterator, Sequence
from time import monotonic

import pyarrow as pa

from ards_ray.config import AttackSettings, Settings
from ards_ray.corpus.conversation import Conversation, check_single, parse_conversation
from ards_ray.corpus.readers import Entry, read_corpus
from ards_ray.corpus.shards import shard_corpus
from ards_ray.corruption.attack import corrupt
from ards_ray.errors import ConversationError
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.storage.scratch import scratch_folder


def write_conversations(run: RunDirectory, settings: Settings, stage: str) -> Iterator[Part]:
    """Write the conversations parts, yielding each.

    Raises:
        CorpusError: a corpus file cannot be read.
    """
    with scratch_folder(run.url) as scratch:
        entries = read_corpus(settings.corpus.files)
        started = monotonic()
        for number, table in enumerate(shard_corpus(entries, settings.runtime.shard_size, scratch)):
            details = {"formats": dict(Counter(table["format"].to_pylist()))}
            yield run.write_table(f"conversations/part-{number:05d}.parquet", table, stage, started, details)
            started = monotonic()


def corpus_formats(parts: Sequence[Part]) -> dict[str, int]:
    """Conversations of each format in the corpus."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.details["formats"])
    return dict(sorted(counts.items()))


def conversation_of(row: int, format: str, images: Sequence[str], record: str) -> Conversation:
    """The conversation in a row of the table, as the model families can show it.

    Raises:
        ConversationError: it cannot be scored; says why.
    """
    check_single(images)
    conversation = parse_conversation(row, format, images, record)
    if conversation.images != tuple(images):
        # The reader leaves out what a record itself names in the way of an embedded image.
        raise ConversationError("image is not a path", conversation.images[0])
    return conversation


def attack_on(
    row: int, format: str, images: Sequence[str], record: str, attacks: AttackSettings, seed: int
) -> str | None:
    """The attack that applies to a corpus record, None where there is none or the record cannot be scored."""
    try:
        corruption = corrupt(conversation_of(row, format, images, record), attacks, seed)
    except ConversationError:
        return None
    return corruption.attack if corruption else None


def attack_on_entry(entry: Entry, settings: Settings) -> str | None:
    return attack_on(entry.row, entry.format, entry.images, entry.record, settings.attacks, settings.seed)


def can_have_subgroups(run: RunDirectory, parts: Sequence[Part], settings: Settings) -> bool:
    """Whether some format may have a subgroup: three conversations of it, one of which can be corrupted.

    Stops at the first, so it costs next to nothing on a corpus that is all right.
    """
    formats = {name for name, count in corpus_formats(parts).items() if count >= 3}
    if not settings.subgroups.perturb:
        return bool(formats - {"text"})
    for part in parts:
        if not formats & part.details["formats"].keys():
            continue
        table = run.read_table(part.path, ["row", "format", "images", "record"])
        if _any_attacked(table, formats, settings):
            return True
    return False


def _any_attacked(table: pa.Table, formats: set[str], settings: Settings) -> bool:
    return any(
        attack_on(entry["row"], entry["format"], entry["images"], entry["record"], settings.attacks, settings.seed)
        for entry in table.to_pylist()
        if entry["format"] in formats
    )
