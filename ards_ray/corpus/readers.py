"""Reading instruction corpora: JSON arrays, JSON Lines and Parquet, as a stream of conversations."""

import base64
import codecs
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import fs as pafs

from ards_ray.corpus.conversation import image_of
from ards_ray.corpus.formats import format_of
from ards_ray.corpus.parquet import MAGIC, parquet_records
from ards_ray.corpus.text import is_unicode, unique_keys
from ards_ray.errors import ConversationError, CorpusError
from ards_ray.storage.location import Location, locate

_CHUNK_BYTES = 1 << 20
# Bounds memory where a file is one endless value: no conversation comes near.
_LONGEST_CONVERSATION = 256 << 20
# Characters that the decoder may need to see behind a position before it can tell an error from missing text.
_LONGEST_TOKEN = 64

_BOM = "\ufeff"
_BOM_INSIDE = "a byte order mark inside the file, as where files were put together; remove it"
_NOT_ZERO = re.compile(r"[-0.]*[1-9]")
_SPACE = re.compile(r"[ \t\n\r]*")


def _plain(value: Any) -> str:
    """A value that JSON has no type for, as text: bytes as base64."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:_LONGEST_TOKEN]} is too large for a number; it would become infinity")
    if not value and _NOT_ZERO.match(text):
        raise ValueError(f"{text[:_LONGEST_TOKEN]} is too small for a number; it would become zero")
    return value


_DECODER = json.JSONDecoder(parse_float=_finite, object_pairs_hook=unique_keys)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":"), default=_plain).encode


@dataclass(frozen=True)
class Entry:
    """One row of the conversations table.

    Attributes:
        row: Position in the corpus, counted over all its files from 0.
        id: The record's id, which may repeat; empty if it has none.
        source: Path or URL of the corpus file.
        image: Path under the image folder, `source#n` for one embedded in row n of a Parquet file, or None. What a
            record itself writes never stands here if it begins as the name of an embedded image does.
        format: Answer format.
        record: JSON text of the original object, every key kept; without the bytes of an embedded image.
    """

    row: int
    id: str
    source: str
    image: str | None
    format: str
    record: str


def read_corpus(files: Sequence[str]) -> Iterator[Entry]:
    """Stream the conversations of all files in the order given, in bounded memory.

    Every file is opened before the first conversation is read. What is in a conversation is not checked here: one
    that cannot be used is an entry all the same, and fails later.

    Raises:
        CorpusError: a file cannot be read, or Parquet and JSON files are mixed; at once, or while reading.
    """
    locations = [locate(file) for file in files]
    readers = [_reader_of(location) for location in locations]
    parquet = [location.url for location, read in zip(locations, readers, strict=True) if read is _parquet]
    if parquet and len(parquet) < len(files):
        json_file = next(location.url for location in locations if location.url not in parquet)
        raise CorpusError(f"{json_file} is JSON and {parquet[0]} is Parquet: a corpus is all of one kind")
    return _entries(locations, readers)


def is_parquet(file: str) -> bool:
    """Whether a corpus file is Parquet, told by its content.

    Raises:
        CorpusError: it cannot be read, or is no corpus file.
    """
    return _reader_of(locate(file)) is _parquet


def embedded_row(image: str | None, source: str) -> int | None:
    """The row within `source` that an entry's image is embedded in; None if it has no image or that is a path."""
    if image is None or not image.startswith(f"{source}#"):
        return None
    row = image[len(source) + 1 :]
    return int(row) if row.isdecimal() else None


# A parsed record and, where its image is embedded, the name of that.
_Records = Iterator[tuple[Any, str | None]]


def _entries(locations: list[Location], readers: list[Callable[[Location], _Records]]) -> Iterator[Entry]:
    reserved = tuple(f"{location.url}#" for location in locations)
    row = 0
    for location, read in zip(locations, readers, strict=True):
        for record, embedded in read(location):
            yield _entry(row, location.url, record, embedded, reserved)
            row += 1


def _entry(row: int, source: str, record: Any, embedded: str | None, reserved: tuple[str, ...]) -> Entry:
    try:
        image = image_of(record, embedded)
        has_image = image is not None
    except ConversationError:
        image, has_image = embedded, True
    if embedded is None and image is not None and image.startswith(reserved):
        # It would be taken for embedded. Without it in the table, the conversation fails when it is made ready.
        image = None
    identity = record.get("id") if isinstance(record, dict) else None
    text = _encode(record)
    return Entry(
        row=row,
        id="" if identity is None else _unicode(str(identity)),
        source=source,
        image=None if image is None else _unicode(image),
        format=format_of(record, has_image),
        record=text if is_unicode(text) else _encode_ascii(record),
    )


def _unicode(text: str) -> str:
    return text if is_unicode(text) else text.encode(errors="backslashreplace").decode()


def _reader_of(file: Location) -> Callable[[Location], _Records]:
    """How to read a file, told by its first bytes."""
    with _named(file):
        kind = file.info().type
    if kind == pafs.FileType.NotFound:
        raise CorpusError(f"{file.url}: not found")
    if kind != pafs.FileType.File:
        raise CorpusError(f"{file.url}: not a file")
    with _named(file), file.filesystem.open_input_stream(file.path) as stream:
        head = stream.read(_CHUNK_BYTES)
        if head.startswith(MAGIC):
            return _parquet
        text = head.removeprefix(codecs.BOM_UTF8).lstrip(b" \t\n\r")
        while head and not text:
            head = stream.read(_CHUNK_BYTES)
            text = head.lstrip(b" \t\n\r")
    if not text:
        raise CorpusError(f"{file.url}: empty file")
    if text.startswith(b"["):
        return _json_array
    if text.startswith(b"{"):
        return _json_lines
    if text.startswith(codecs.BOM_UTF8):
        raise CorpusError(f"{file.url}: begins with {_BOM_INSIDE}")
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CorpusError(f"{file.url}: not UTF-8 at byte 0: UTF-16 text; save it as UTF-8")
    raise CorpusError(f"{file.url}: neither a JSON array, JSON Lines nor Parquet; it starts with {text[:20]!r}")


@contextmanager
def _named(file: Location) -> Iterator[None]:
    """Name the file in errors of its storage."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{file.url}: cannot be read ({error})") from error


# JSON

# The standard decoder on a moving window of text is as fast as an event parser in C, and unlike one it keeps integers
# of any length, NaN and half surrogate pairs as they are.


class _Window:
    """The part of a UTF-8 file that is in memory, and how far it is consumed."""

    def __init__(self, stream: BinaryIO, url: str):
        self.url = url
        self.count = 0
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._position = 0
        self._bytes_read = 0

    def next_char(self) -> str:
        """The next character that is no space, not consumed; empty at the end of the file."""
        while True:
            self._position = _end_of_space(self._text, self._position)
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._grow():
                return ""

    def skip(self) -> None:
        """Consume one character."""
        self._position += 1

    def value(self) -> Any:
        """Consume the JSON value that starts here."""
        self.next_char()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                unterminated = error.msg.startswith("Unterminated string")
                broken = not unterminated and error.pos < len(self._text) - _LONGEST_TOKEN
                if broken or not self._grow():
                    at_end = unterminated or error.pos >= len(self._text.rstrip())
                    raise self.cut_off() if at_end else self.error(error.msg, error.pos) from error
            except RecursionError as error:
                raise self.error("nested too deeply", self._position) from error
            except ValueError as error:
                raise self.error(str(error), self._position) from error
            else:
                # A number that ends with the window may go on behind it.
                if end < len(self._text) or not self._grow():
                    self._position = end
                    self.count += 1
                    return value

    def error(self, problem: str, position: int | None = None) -> CorpusError:
        behind = self._text[self._position if position is None else position :]
        if behind.startswith(_BOM):
            problem = _BOM_INSIDE
        byte = self._bytes_read - len(self._decoder.getstate()[0]) - len(behind.encode())
        return CorpusError(f"{self.url}: broken JSON after {self.count} conversations, at byte {byte}: {problem}")

    def cut_off(self) -> CorpusError:
        return CorpusError(
            f"{self.url}: cut off after {self.count} conversations: the file ends at byte {self._bytes_read}, "
            "in the middle of the JSON array; is the download complete?"
        )

    def _grow(self) -> bool:
        """Drop what is consumed and read on; False, with nothing changed, at the end of the file."""
        rest = len(self._text) - self._position
        if rest > _LONGEST_CONVERSATION:
            raise self.error(f"a conversation of more than {_LONGEST_CONVERSATION >> 20} MiB")
        # As much again as there is, so that a long value is not parsed again for every chunk.
        chunk = self._stream.read(max(_CHUNK_BYTES, rest))
        pending = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            byte = self._bytes_read - pending + error.start
            raise CorpusError(
                f"{self.url}: not UTF-8 at byte {byte}, some way after {self.count} conversations"
            ) from error
        if not chunk:
            return False
        if not self._bytes_read:
            text = text.removeprefix(_BOM)
        self._bytes_read += len(chunk)
        self._text = self._text[self._position :] + text
        self._position = 0
        return True


def _end_of_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _json_array(file: Location) -> _Records:
    with _named(file), file.filesystem.open_input_stream(file.path) as stream:
        window = _Window(stream, file.url)
        window.next_char()
        window.skip()
        if window.next_char() == "]":
            window.skip()
        else:
            yield from _elements(window)
        if window.next_char():
            raise window.error("something follows the end of the JSON array")


def _elements(window: _Window) -> _Records:
    """The elements of an array, up to and with its closing bracket."""
    while True:
        yield window.value(), None
        char = window.next_char()
        if not char:
            raise window.cut_off()
        if char not in ",]":
            raise window.error("expected ',' or ']' between conversations")
        window.skip()
        if char == "]":
            return


def _json_lines(file: Location) -> _Records:
    with _named(file), file.filesystem.open_input_stream(file.path) as stream:
        count = 0
        record: Any = None
        for number, line in enumerate(_lines(stream, file.url), start=1):
            text = _decoded(line, number, file.url)
            if not text.strip(" \t\r"):
                continue
            record = _parsed_line(text, number, count, file.url)
            count += 1
            yield record, None
        if count == 1 and "conversations" not in record:
            raise CorpusError(f"{file.url}: a single JSON object; expected an array, or one conversation in each line")


def _lines(stream: BinaryIO, url: str) -> Iterator[bytes]:
    rest: list[bytes] = []
    while chunk := stream.read(_CHUNK_BYTES):
        first, *others = chunk.split(b"\n")
        rest.append(first)
        if others:
            yield b"".join(rest)
            yield from others[:-1]
            rest = [others[-1]]
        if len(rest) * _CHUNK_BYTES > _LONGEST_CONVERSATION:
            raise CorpusError(f"{url}: a line of more than {_LONGEST_CONVERSATION >> 20} MiB")
    yield b"".join(rest)


def _decoded(line: bytes, number: int, url: str) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise CorpusError(f"{url}: line {number} is not UTF-8 at its byte {error.start}") from error
    return text.removeprefix(_BOM) if number == 1 else text


def _parsed_line(text: str, number: int, count: int, url: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        if text.startswith(_BOM, error.pos):
            raise CorpusError(f"{url}: broken JSON in line {number}, column {error.colno}: {_BOM_INSIDE}") from error
        if count == 0 and error.pos >= len(text.rstrip()):
            raise CorpusError(
                f"{url}: line {number} ends within a JSON object: expected a JSON array, or one whole object in a line"
            ) from error
        raise CorpusError(f"{url}: broken JSON in line {number}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise CorpusError(f"{url}: line {number} is nested too deeply") from error
    except ValueError as error:
        raise CorpusError(f"{url}: broken JSON in line {number}: {error}") from error


def _parquet(file: Location) -> _Records:
    with _named(file):
        yield from parquet_records(file)
