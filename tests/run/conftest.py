"""Run directories on disks and on an object store."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from ards_ray.run.directory import RunDirectory


@pytest.fixture(params=["path", "file URL", "object store"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder that is not there yet."""
    if request.param == "object store":
        name = f"/{uuid.uuid4().hex}"
        yield f"memory:/{name}/runs/one"
        memory = fsspec.filesystem("memory")
        if memory.exists(name):
            memory.rm(name, recursive=True)
    else:
        folder = tmp_path / "runs" / "one"
        yield folder.as_uri() if request.param == "file URL" else str(folder)


@pytest.fixture
def run(url: str) -> RunDirectory:
    directory = RunDirectory(url)
    directory.prepare()
    return directory
