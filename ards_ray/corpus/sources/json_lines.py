"""Corpus files of JSON Lines: a record in each line."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from ards_ray.corpus.sources import source
from ards_ray.corpus.sources.source import BinaryStream, JsonSource, Records, joined, named
from ards_ray.corpus.text import BOM, BOM_INSIDE, DECODER
from ards_ray.errors import CorpusError


class JsonLines(JsonSource):
    """JSON Lines, empty lines left out; so is the mixture."""

    form = "JSON Lines"
    mixture_name = "mixture.jsonl"

    @classmethod
    def begins(cls, head: bytes) -> bool:
        return head.startswith(b"{")

    def records(self) -> Records:
        url = self.file.url
        with named(self.file), self.file.filesystem.open_input_stream(self.file.path) as stream:
            count = 0
            record: Any = None
            for number, line in enumerate(_lines(stream, url), start=1):
                text = _decoded(line, number, url)
                if not text.strip(" \t\r"):
                    continue
                record = _parsed_line(text, number, count, url)
                count += 1
                yield record, ()
            if count == 1 and "conversations" not in record:
                raise CorpusError(f"{url}: a single JSON object; expected an array, or one conversation in each line")

    @classmethod
    def write(cls, records: Iterable[pa.LargeStringArray], stream: BinaryStream) -> int:
        count = 0
        for some in records:
            if len(some):
                stream.write(joined(some, "\n"))
                stream.write(b"\n")
                count += len(some)
        return count


def _lines(stream: BinaryIO, url: str) -> Iterator[bytes]:
    rest: list[bytes] = []
    while chunk := stream.read(source.CHUNK_BYTES):
        first, *others = chunk.split(b"\n")
        rest.append(first)
        if others:
            yield b"".join(rest)
            yield from others[:-1]
            rest = [others[-1]]
        if len(rest) * source.CHUNK_BYTES > source.LONGEST_CONVERSATION:
            raise CorpusError(f"{url}: a line of more than {source.LONGEST_CONVERSATION >> 20} MiB")
    yield b"".join(rest)


def _decoded(line: bytes, number: int, url: str) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise CorpusError(f"{url}: line {number} is not UTF-8 at its byte {error.start}") from error
    return text.removeprefix(BOM) if number == 1 else text


def _parsed_line(text: str, number: int, count: int, url: str) -> Any:
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        if text.startswith(BOM, error.pos):
            raise CorpusError(f"{url}: broken JSON in line {number}, column {error.colno}: {BOM_INSIDE}") from error
        if count == 0 and error.pos >= len(text.rstrip()):
            raise CorpusError(
                f"{url}: line {number} ends within a JSON object: expected a JSON array, or one whole object in a line"
            ) from error
        raise CorpusError(f"{url}: broken JSON in line {number}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise CorpusError(f"{url}: line {number} is nested too deeply") from error
    except ValueError as error:
        raise CorpusError(f"{url}: broken JSON in line {number}: {error}") from error
