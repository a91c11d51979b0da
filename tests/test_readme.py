"""The README's table of settings is what the code has."""

from dataclasses import fields, is_dataclass

import pytest
from settings_table import README, is_row, rows, table

from ards_ray.config import Settings
from ards_ray.given import Given, settings_of

IN_README = [line for line in README.read_text().splitlines() if is_row(line)]
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in IN_README[2:]]
RENEW = "run `python tests/settings_table.py`, which writes the README's table"


def test_the_table_is_the_code_s() -> None:
    """A key, default or value that the README has wrong costs its reader a run."""
    assert table() == IN_README, RENEW


def test_every_setting_has_a_row() -> None:
    """A setting that stands in no table does not exist for its users."""
    sections = {item.name: item.default_factory for item in fields(Settings) if is_dataclass(item.type)}
    keys = [item.name for item in fields(Settings) if item.name not in sections]
    keys += [f"{name}.{item.name}" for name, section in sections.items() for item in fields(section)]
    assert sorted(key.strip("`") for key, *_ in ROWS) == sorted(keys)


@pytest.mark.parametrize(("key", "default"), [(row[0].strip("`"), row[1].strip("`")) for row in ROWS])
def test_a_default_given_is_the_default(key: str, default: str) -> None:
    """A default is written as `--set` takes it: stating it changes nothing."""
    assert settings_of(Settings, [Given(key, default, f"--set {key}")]) == Settings()


def test_descriptions_fit_a_cell() -> None:
    """A bar within a cell breaks the table's row where it is rendered."""
    assert not [row for row in rows() if any("|" in cell for cell in row)]
