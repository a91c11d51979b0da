"""Tab-separated files: the fields that pandas wrote, and the bytes they stand in."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ards_ray.errors import CorpusError
from ards_ray.evaluation.benchmarks.tsv import read_tsv

TEXTS = st.text(st.sampled_from('ab"\t\n\r ,ä') | st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def written(rows: list[list[str]]) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter="\t", lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()


def read(content: bytes) -> list[dict[str, str]]:
    return [{name: field.text for name, field in row.items()} for row in read_tsv(memoryview(content), "a.tsv")]


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6))
def test_what_was_written_is_read(rows: list[tuple[str, str]]) -> None:
    """Questions hold line ends, tabs and quotes: one that is cut there shifts all rows behind it."""
    # Before a line end nobody can tell a last \r from the line end's own.
    rows = [(first, second.rstrip("\r")) for first, second in rows]
    content = written([["a", "b"], *map(list, rows)])
    assert read(content) == [{"a": first, "b": second} for first, second in rows]


def test_where_fields_stand() -> None:
    """An image is read by its place alone: one byte off, and it is broken."""
    content = written([["index", "image"], ["0", "QUJD"], ["1", 'a"b']])
    rows = list(read_tsv(memoryview(content), "a.tsv"))
    assert [content[row["image"].start : row["image"].end] for row in rows] == [b"QUJD", b'a""b']


def test_fields_of_megabytes() -> None:
    """A picture as base64 is longer than the csv module's limit for a field."""
    content = written([["a", "b"], ["x" * 3_000_000, "y\n" * 100_000]])
    assert [len(field) for field in read(content)[0].values()] == [3_000_000, 200_000]


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa\tb\r\n1\t2\r\n", b"a\tb\n\n1\t2\n\n", b"a\tb\n1\t2"])
def test_line_ends_and_marks(content: bytes) -> None:
    """Files that went through a spreadsheet have a mark in front and other line ends."""
    assert read(content) == [{"a": "1", "b": "2"}]


def test_quotes_within_a_field() -> None:
    """A screen of 5" is no quoted field."""
    assert read(b'a\tb\n5" screen\t"x" y\n') == [{"a": '5" screen', "b": '"x" y'}]


@pytest.mark.parametrize("content", [b"a\tb\n1\n", b"a\tb\n1\t2\t3\n", b'a\tb\n1\t"x\ny'])
def test_rows_of_another_length(content: bytes) -> None:
    """A file that broke off within a row: its last question would have no options."""
    with pytest.raises(CorpusError, match=r"a\.tsv: row [12] has \d fields, the header has 2"):
        read(content)


def test_columns_of_one_name() -> None:
    """One of them would be gone, and nobody can tell which is meant."""
    with pytest.raises(CorpusError, match=r"a\.tsv: two columns are named 'a'"):
        read(b"a\tb\ta\n1\t2\t3\n")


def test_not_utf8() -> None:
    """Named with its place."""
    with pytest.raises(CorpusError, match=r"a\.tsv: not UTF-8 between bytes 2 and 3"):
        read(b"a\n\xff\n")
