"""How tables and lines look in a terminal."""

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table


def table_of(first: str, *others: str) -> Table:
    """A plain table: names on the left, numbers on the right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def shown(text: str) -> str:
    """A text of the corpus, to be shown as it is: without markup, and without what steers a terminal."""
    return escape(printable(text))


def printable(text: str) -> str:
    """A text without what steers a terminal, line breaks left as they are."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def say(console: Console, text: str) -> None:
    """A line as it is. Paths are not broken: they are there to be copied."""
    console.print(printable(text), soft_wrap=True, highlight=False, markup=False)


def print_failures(reasons: Mapping[str, int], console: Console) -> None:
    """Failures by reason, most frequent first."""
    table = table_of("failed because", "conversations")
    for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(shown(reason), f"{count:,}")
    console.print(table)
