"""Files on a filesystem that appear whole under their name, or not at all."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

# The names under which files are written that are not whole yet; one that is left is of a writer that was killed.
TEMPORARY = re.compile(r"^\..*\.[0-9a-f]{32}$")


@contextmanager
def whole_file(path: str) -> Iterator[BinaryIO]:
    """Open a temporary file for writing and reading; sync it and rename it to its place when the block ends well.

    The folder is made if it does not exist.
    """
    folder, name = os.path.split(path)
    _make_folder(folder)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _make_folder(folder: str) -> None:
    """Make a folder and its parents, synced so that they survive a power failure."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    _make_folder(above)
    with suppress(FileExistsError):
        os.mkdir(folder)
    _sync_folder(above)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
