"""Temporary folders on this machine's disk."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_folder(run: str) -> Iterator[Path]:
    """A temporary folder for the time of a `with` block; first, those are removed that killed drivers of the run left.

    A driver of the run that was asleep finds its files gone when it wakes up, not those of another one in their place:
    each folder has a name of its own.

    Args:
        run: URL of the run, whose lease this process holds.
    """
    prefix = f"ards-ray-{hashlib.sha256(run.encode()).hexdigest()[:16]}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        # What another user made under that name stays.
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        yield Path(folder)
