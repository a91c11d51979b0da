"""Reading a corpus: its files as one stream of conversations."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ards_ray.corpus.conversation import images_of
from ards_ray.corpus.formats import format_of
from ards_ray.corpus.sources.registry import open_corpus
from ards_ray.corpus.sources.source import Source
from ards_ray.corpus.text import is_unicode
from ards_ray.errors import ConversationError


def _plain(value: Any) -> str:
    """A value that JSON has no type for, as text: bytes as base64."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":"), default=_plain).encode


@dataclass(frozen=True)
class Entry:
    """One row of the conversations table.

    Attributes:
        row: Position in the corpus, counted over all its files from 0.
        id: The record's id, which may repeat; empty if it has none.
        source: Path or URL of the corpus file.
        format: Answer format.
        images: Paths under the image folder, or `source#n` for one embedded in row n of the file. What a record itself
            writes never stands here if it begins as the name of an embedded image does.
        record: JSON text of the original object, every key kept; without the bytes of an embedded image.
    """

    row: int
    id: str
    source: str
    format: str
    images: tuple[str, ...]
    record: str


def read_corpus(files: Sequence[str]) -> Iterator[Entry]:
    """Stream the conversations of all files in the order given, in bounded memory.

    Every file is opened before the first conversation is read. What is in a conversation is not checked here: one
    that cannot be used is an entry all the same, and fails later.

    Raises:
        CorpusError: a file cannot be read, or Parquet and JSON files are mixed; at once, or while reading.
    """
    return _entries(open_corpus(files))


def embedded_row(image: str, source: str) -> int | None:
    """The row within `source` that an entry's image is embedded in; None if the image is a path."""
    if not image.startswith(f"{source}#"):
        return None
    row = image[len(source) + 1 :]
    return int(row) if row.isdecimal() else None


def _entries(sources: Sequence[Source]) -> Iterator[Entry]:
    reserved = tuple(f"{source.file.url}#" for source in sources)
    row = 0
    for source in sources:
        for record, embedded in source.records():
            yield _entry(row, source.file.url, record, embedded, reserved)
            row += 1


def _entry(row: int, source: str, record: Any, embedded: tuple[str, ...], reserved: tuple[str, ...]) -> Entry:
    try:
        images = images_of(record, embedded)
        has_image = bool(images)
    except ConversationError:
        images, has_image = embedded, True
    if not embedded and any(image.startswith(reserved) for image in images):
        # It would be taken for embedded. Without it in the table, the conversation fails when it is made ready.
        images = ()
    identity = record.get("id") if isinstance(record, dict) else None
    text = _encode(record)
    return Entry(
        row=row,
        id="" if identity is None else _unicode(str(identity)),
        source=source,
        format=format_of(record, has_image),
        images=tuple(_unicode(image) for image in images),
        record=text if is_unicode(text) else _encode_ascii(record),
    )


def _unicode(text: str) -> str:
    return text if is_unicode(text) else text.encode(errors="backslashreplace").decode()
