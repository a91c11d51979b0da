"""Calls of a remote storage are tried again when that can help, and only then."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs as pafs

from ards_ray.storage import retries
from ards_ray.storage.location import Location
from ards_ray.storage.retries import FSSpecHandler, RetriedFile, RetryingHandler, is_transient, retried


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.0001)


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("no answer"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        OSError("When reading 'x': AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 28"),
        OSError("AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate."),
        OSError("AWS Error UNKNOWN (HTTP status 503) during HeadObject operation"),
        OSError("AWS Error UNKNOWN (HTTP status 429) during HeadObject operation"),
        OSError("google::cloud::Status(UNAVAILABLE: Permanent error, with a last message of try again)"),
    ],
    ids=str,
)
def test_what_passes_is_tried_again(error: OSError) -> None:
    """A hiccup of a network would end a week's run."""
    answers = [error, error, "answer"]

    def call() -> str:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    assert retried(call) == "answer"


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("AWS Error ACCESS_DENIED during PutObject operation: Access Denied"),
        OSError("AWS Error NO_SUCH_BUCKET during ListObjectsV2 operation"),
        OSError("AWS Error UNKNOWN (HTTP status 400) during HeadObject operation"),
        OSError("google::cloud::Status(PERMISSION_DENIED: caller does not have access)"),
        ValueError("a mistake of ours"),
    ],
    ids=str,
)
def test_what_stays_is_said_at_once(error: Exception) -> None:
    """Whoever mistyped a bucket's name should not wait a minute to hear of it."""
    calls = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        retried(call)
    assert len(calls) == 1
    assert not is_transient(error)


def test_it_is_given_up_at_last() -> None:
    """A storage that is gone for good must not hold the job for ever."""
    calls = []

    def call() -> None:
        calls.append(1)
        raise TimeoutError("no answer")

    with pytest.raises(TimeoutError, match="no answer"):
        retried(call)
    assert len(calls) == retries.ATTEMPTS


class Failing:
    """A file some of whose reads fail."""

    def __init__(self, content: bytes, fails: Iterator[bool]):
        self._file = pa.BufferReader(content)
        self._fails = fails

    def size(self) -> int:
        return self._file.size()

    def read_at(self, size: int, position: int) -> bytes:
        if next(self._fails):
            raise TimeoutError("no answer")
        return self._file.read_at(size, position)

    def close(self) -> None:
        self._file.close()


READS = st.lists(st.tuples(st.sampled_from(["read", "seek"]), st.integers(0, 60)), max_size=20)


@given(st.binary(max_size=50), READS, st.lists(st.booleans(), max_size=30))
def test_what_is_read_is_what_is_there(content: bytes, calls: list[tuple[str, int]], fails: list[bool]) -> None:
    """After a read that failed, bytes left out or read twice would be a silent change of the corpus."""
    # Never so many in a row that it is given up.
    failing = iter([*(fail and index % 3 != 2 for index, fail in enumerate(fails)), *[False] * 1000])
    file = RetriedFile(lambda: Failing(content, failing))  # type: ignore[arg-type, return-value]
    place = 0
    for kind, number in calls:
        if kind == "seek":
            place = file.seek(number)
        else:
            expected = content[place : place + number]
            assert file.read(number) == expected
            place += len(expected)
    assert file.tell() == place


def test_a_listing_that_fails_is_not_an_empty_folder(tmp_path: Path) -> None:
    """A run whose parts cannot be listed for a moment would be scored from the beginning."""

    class Unlistable(LocalFileSystem):  # type: ignore[misc]
        fails = 3

        def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
            type(self).fails -= 1
            if type(self).fails >= 0:
                raise TimeoutError("no answer")
            return super().ls(path, detail=detail, **options)

        def isdir(self, path: str) -> bool:
            return False

    (tmp_path / "a.txt").write_text("a")
    inner = pafs.PyFileSystem(FSSpecHandler(Unlistable()))
    store = pafs.PyFileSystem(RetryingHandler(inner))
    found = store.get_file_info(pafs.FileSelector(str(tmp_path)))
    assert [info.base_name for info in found] == ["a.txt"]
    with pytest.raises(FileNotFoundError):
        store.get_file_info(pafs.FileSelector(str(tmp_path / "missing")))
    assert store.get_file_info(pafs.FileSelector(str(tmp_path / "missing"), allow_not_found=True)) == []


def test_a_write_that_fails_begins_again_with_the_whole(tmp_path: Path) -> None:
    """Half an object put twice is no object."""

    class Unwritable(LocalFileSystem):  # type: ignore[misc]
        fails = 2

        def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
            file = super()._open(path, mode, **options)
            if "w" in mode and type(self).fails:
                type(self).fails -= 1
                file.write(b"half of it")
                raise TimeoutError("no answer")
            return file

    store = pafs.PyFileSystem(RetryingHandler(pafs.PyFileSystem(FSSpecHandler(Unwritable()))))
    path = str(tmp_path / "a.bin")
    Location(store, path, path).write(b"the whole of it, once")
    assert Path(path).read_bytes() == b"the whole of it, once"
