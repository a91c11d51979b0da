"""Tab-separated files with fields of megabytes, read in place: each field's text and where it stands."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from ards_ray.errors import CorpusError

# A field in quotes may hold tabs, line ends and doubled quotes. Python's csv module would do but for its limit on
# the length of fields, which is global to the process, and for telling no positions.
_QUOTED = rb'"([^"]*+(?:""[^"]*+)*+)"'
_PLAIN = rb"([^\t\r\n]*+(?:\r(?!\n)[^\t\r\n]*+)*+)"
_FIELD = re.compile(rb"(?:" + _QUOTED + rb"|" + _PLAIN + rb")(\t|\r?\n|\Z)")
_BOM = b"\xef\xbb\xbf"


class Field(NamedTuple):
    """A field: its text, and the bytes of the file that it stands between."""

    text: str
    start: int
    end: int


def read_tsv(content: memoryview, url: str) -> Iterator[dict[str, Field]]:
    """The rows below the header, by column.

    Args:
        content: The file.
        url: Its name.

    Raises:
        CorpusError: it is not UTF-8, two columns have one name, or a row has not as many fields as the header;
            names the column or row.
    """
    rows = _rows(content, url)
    header = [field.text for field in next(rows, [])]
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise CorpusError(f"{url}: two columns are named {twice[0]!r}")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise CorpusError(f"{url}: row {number} has {len(row)} fields, the header has {len(header)}")
        yield dict(zip(header, row, strict=True))


def _rows(content: memoryview, url: str) -> Iterator[list[Field]]:
    row: list[Field] = []
    for match in _FIELD.finditer(content, len(_BOM) if content[: len(_BOM)] == _BOM else 0):
        if match.start() == len(content) and not row:
            break
        quoted = match[1] is not None
        text = match[1].replace(b'""', b'"') if quoted else match[2]
        start, end = match.span(1 if quoted else 2)
        try:
            row.append(Field(text.decode(), start, end))
        except UnicodeDecodeError as error:
            raise CorpusError(f"{url}: not UTF-8 between bytes {start} and {end}") from error
        if match[3] != b"\t":
            if len(row) > 1 or row[0].text:
                yield row
            row = []
