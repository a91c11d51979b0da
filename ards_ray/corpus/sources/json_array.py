"""Corpus files that are one JSON array of records."""

import codecs
import json
import re
from collections.abc import Iterable
from typing import Any, BinaryIO

import pyarrow as pa

from ards_ray.corpus.sources import source
from ards_ray.corpus.sources.source import BinaryStream, JsonSource, Records, joined, named
from ards_ray.corpus.text import BOM, BOM_INSIDE, DECODER, LONGEST_TOKEN
from ards_ray.errors import CorpusError

_SPACE = re.compile(r"[ \t\n\r]*")


class JsonArray(JsonSource):
    """A JSON array; its mixture is one too, a record in each line."""

    form = "a JSON array"
    mixture_name = "mixture.json"

    @classmethod
    def begins(cls, head: bytes) -> bool:
        return head.startswith(b"[")

    def records(self) -> Records:
        with named(self.file), self.file.filesystem.open_input_stream(self.file.path) as stream:
            window = _Window(stream, self.file.url)
            window.next_char()
            window.skip()
            if window.next_char() == "]":
                window.skip()
            else:
                yield from _elements(window)
            if window.next_char():
                raise window.error("something follows the end of the JSON array")

    @classmethod
    def write(cls, records: Iterable[pa.LargeStringArray], stream: BinaryStream) -> int:
        count = 0
        for some in records:
            if len(some):
                stream.write(b",\n  " if count else b"[\n  ")
                stream.write(joined(some, ",\n  "))
                count += len(some)
        stream.write(b"\n]\n" if count else b"[]\n")
        return count


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
                value, end = DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                unterminated = error.msg.startswith("Unterminated string")
                broken = not unterminated and error.pos < len(self._text) - LONGEST_TOKEN
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
        if behind.startswith(BOM):
            problem = BOM_INSIDE
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
        if rest > source.LONGEST_CONVERSATION:
            raise self.error(f"a conversation of more than {source.LONGEST_CONVERSATION >> 20} MiB")
        # As much again as there is, so that a long value is not parsed again for every chunk.
        chunk = self._stream.read(max(source.CHUNK_BYTES, rest))
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
            text = text.removeprefix(BOM)
        self._bytes_read += len(chunk)
        self._text = self._text[self._position :] + text
        self._position = 0
        return True


def _end_of_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _elements(window: _Window) -> Records:
    """The elements of an array, up to and with its closing bracket."""
    while True:
        yield window.value(), ()
        char = window.next_char()
        if not char:
            raise window.cut_off()
        if char not in ",]":
            raise window.error("expected ',' or ']' between conversations")
        window.skip()
        if char == "]":
            return
