"""The forms of corpus files, and which of them a file has."""

import codecs
from collections.abc import Sequence

from pyarrow import fs as pafs

from ards_ray.corpus.sources.json_array import JsonArray
from ards_ray.corpus.sources.json_lines import JsonLines
from ards_ray.corpus.sources.parquet import Parquet
from ards_ray.corpus.sources.source import Source, named
from ards_ray.corpus.text import BOM_INSIDE
from ards_ray.errors import CorpusError
from ards_ray.storage.location import Location, locate

# The mixture of files in several forms has the first of these.
FORMS: tuple[type[Source], ...] = (JsonArray, JsonLines, Parquet)

_HEAD_BYTES = 4096


def open_corpus(files: Sequence[str]) -> tuple[Source, ...]:
    """The corpus files, each in its form.

    Args:
        files: Paths or URLs.

    Raises:
        CorpusError: a file cannot be read or is no corpus file, or they are not all of one kind.
    """
    sources = tuple(open_source(file) for file in files)
    kinds = sorted({source.kind: source.file.url for source in sources}.items())
    if len(kinds) > 1:
        (kind, file), (other_kind, other_file) = kinds[:2]
        raise CorpusError(f"{file} is {kind} and {other_file} is {other_kind}: a corpus is all of one kind")
    return sources


def open_source(file: str) -> Source:
    """A corpus file in its form, told by its content.

    Raises:
        CorpusError: it cannot be read, or is no corpus file.
    """
    location = locate(file)
    head = _head(location)
    for form in FORMS:
        if form.begins(head):
            return form(location)
    if head.startswith(codecs.BOM_UTF8):
        raise CorpusError(f"{location.url}: begins with {BOM_INSIDE}")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CorpusError(f"{location.url}: not UTF-8 at byte 0: UTF-16 text; save it as UTF-8")
    *others, last = (form.form for form in FORMS)
    raise CorpusError(f"{location.url}: neither {', '.join(others)} nor {last}; it starts with {head[:20]!r}")


def mixture_form(sources: Sequence[Source]) -> type[Source]:
    """The form of the mixture of a corpus: that of its files, a JSON array where both forms of JSON are among them."""
    return next(form for form in FORMS if any(isinstance(source, form) for source in sources))


def _head(file: Location) -> bytes:
    """A file's first bytes behind a byte order mark and white space."""
    with named(file):
        kind = file.info().type
    if kind == pafs.FileType.NotFound:
        raise CorpusError(f"{file.url}: not found")
    if kind != pafs.FileType.File:
        raise CorpusError(f"{file.url}: not a file")
    with named(file), file.filesystem.open_input_stream(file.path) as stream:
        head = stream.read(_HEAD_BYTES)
        text = head.removeprefix(codecs.BOM_UTF8).lstrip(b" \t\n\r")
        while head and not text:
            head = stream.read(_HEAD_BYTES)
            text = head.lstrip(b" \t\n\r")
    if not text:
        raise CorpusError(f"{file.url}: empty file")
    return bytes(text)
