"""Rooms: which part of the package may know which."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ards_ray

PACKAGE = Path(ards_ray.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
GROUND = "config console errors given options plain_yaml schema validation words"
# From the ground up; modules of the top level that stand in one line belong together.
ORDER = [
    *(GROUND, "storage", "arrays", "run", "corpus", "corruption", "models", "convert", "signals", "methods", "mixture"),
    *("training", "evaluation", "report", "demo", "cluster", "jobs", "benchmark", "cli cli_evaluate __init__"),
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms.split()}


def imported(file: Path) -> Iterator[str]:
    """Everything that a file imports, also late ones: `ards_ray.run.table.Table`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, file
            yield from (f"{node.module}.{name.name}" for name in node.names)


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def users_of(library: str, but_in: set[str]) -> list[str]:
    """Files that import a library, those of some rooms left out."""
    return [
        str(file.relative_to(PACKAGE))
        for file in FILES
        if room_of(file) not in but_in and any(name.split(".")[0] == library for name in imported(file))
    ]


def test_only_the_cluster_knows_ray() -> None:
    """Stages in a notebook would need a cluster, and the next scheduler another product."""
    assert users_of("ray", but_in={"cluster"}) == []


def test_what_needs_no_torch_knows_none() -> None:
    """Its import takes seconds in each of thousands of tasks, and a mixture without a model needs none."""
    torchless = {"storage", "run", "corpus", "corruption", "mixture", *GROUND.split()}
    assert users_of("torch", but_in=LEVEL.keys() - torchless) == []


@pytest.mark.parametrize("room", sorted({room_of(file) for file in FILES}))
def test_a_room_knows_only_those_below_it(room: str) -> None:
    """Two rooms that know each other are one, and cannot be read, tested or replaced alone."""
    assert room in LEVEL
    above = [
        f"{file.relative_to(PACKAGE)}: {name}"
        for file in FILES
        if room_of(file) == room
        for name in imported(file)
        if name.startswith("ards_ray.") and LEVEL.get(name.split(".")[1], -1) > LEVEL[room]
    ]
    assert above == []
