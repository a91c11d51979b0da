"""The table of settings in the README, made from the settings. Run as a script it writes the table there."""

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from docstring_parser import parse

from ards_ray.config import Settings
from ards_ray.validation import accepted

README = Path(__file__).parent.parent / "README.md"
HEADER = ("key", "default", "values", "what it sets")


def rows() -> Iterator[tuple[str, str, str, str]]:
    """Key, default, values and description of every setting, section by section, as the classes have them."""
    yield from _rows(Settings, "")


def _rows(section: type, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    described = {parameter.arg_name: parameter.description for parameter in parse(section.__doc__ or "").params}
    defaults = section()
    for item in fields(section):
        default = getattr(defaults, item.name)
        if is_dataclass(default):
            yield from _rows(type(default), f"{item.name}.")
        else:
            description = " ".join((described[item.name] or "").split())
            yield f"`{prefix}{item.name}`", f"`{_written(default)}`", accepted(item.type), description


def _written(default: Any) -> str:
    """A default as `--set` and YAML files take it."""
    if isinstance(default, tuple):
        return f"[{', '.join(default)}]"
    return default if isinstance(default, str) else json.dumps(default)


def table() -> list[str]:
    """The lines of the table."""
    cells = [HEADER, ("---",) * len(HEADER), *rows()]
    return [f"| {' | '.join(row)} |" for row in cells]


def is_row(line: str) -> bool:
    """Whether a line of the README belongs to the table."""
    return line.startswith(("| key | default |", "| --- |", "| `")) and line.count(" | ") == len(HEADER) - 1


def write() -> None:
    """Put the table where the README has it now."""
    lines = README.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| key | default |"))
    last = next(number for number in range(first, len(lines)) if not lines[number].startswith("|"))
    README.write_text("\n".join([*lines[:first], *table(), *lines[last:]]) + "\n")


if __name__ == "__main__":
    write()
