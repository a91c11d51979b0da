"""Remote filesystems whose calls are tried again when they fail for a moment."""

import errno
import io
import re
from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import fs as pafs
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

ATTEMPTS = 10
# The waits double from a tenth of a second, each drawn between nothing and its length; a minute in all at most, about.
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 20.0

Result = TypeVar("Result")

_PERMANENT = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_PERMANENT_NUMBERS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EFBIG,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.ENOTEMPTY,
)
# Arrow's filesystems give no numbers: AWS Error ACCESS_DENIED, google::cloud::Status(PERMISSION_DENIED: …).
_PERMANENT_TEXT = re.compile(
    r"AWS Error (ACCESS_DENIED|NO_SUCH_|INVALID_|SIGNATURE_DOES_NOT_MATCH|UNRECOGNIZED_CLIENT|MISSING_AUTHENTICATION)"
    r"|Status\((PERMISSION_DENIED|UNAUTHENTICATED|NOT_FOUND|INVALID_ARGUMENT)|HTTP status 4(?!08|29)\d\d"
)


def is_transient(error: BaseException) -> bool:
    """Whether a call of a remote storage that failed so is worth another try."""
    if not isinstance(error, OSError) or isinstance(error, _PERMANENT) or error.errno in _PERMANENT_NUMBERS:
        return False
    return _PERMANENT_TEXT.search(str(error)) is None


def retried(call: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """What a call returns, tried again with growing waits while it fails for a moment.

    Raises:
        Exception: what the last try raised.
    """
    attempts = Retrying(
        retry=retry_if_exception(is_transient),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS),
        reraise=True,
    )
    return attempts(call, *arguments, **options)


class RetriedFile(io.RawIOBase):
    """A file open for reading. After a read that failed it is opened again."""

    def __init__(self, open_file: Callable[[], pa.NativeFile]):
        self._open = open_file
        self._file: pa.NativeFile | None = retried(open_file)
        self._size = retried(self._file.size)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence] + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b""
        content = retried(self._read_at, self._position, wanted)
        self._position += len(content)
        return content

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()

    def _read_at(self, position: int, size: int) -> bytes:
        if self._file is None:
            self._file = self._open()
        try:
            return self._file.read_at(size, position)
        except OSError:
            self._file = None
            raise


class FSSpecHandler(pafs.FSSpecHandler):  # type: ignore[misc]
    """fsspec's filesystems; pyarrow's own handler takes a folder for empty while its storage fails."""

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        # Others write into the folder as well: what was listed before does not count.
        self.fs.invalidate_cache()
        try:
            entries = self.fs.ls(selector.base_dir, detail=True)
        except FileNotFoundError:
            if selector.allow_not_found:
                return []
            raise
        base = self.fs._strip_protocol(selector.base_dir)
        return [self._create_file_info(entry["name"], entry) for entry in entries if entry["name"] != base]


class RetryingHandler(pafs.FileSystemHandler):  # type: ignore[misc]
    """Passes calls on to a filesystem, and again when they fail for a moment.

    What is being written is not: whoever writes must begin again with the whole, as `Location.write` does.
    """

    def __init__(self, filesystem: pafs.FileSystem):
        self.filesystem = filesystem

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RetryingHandler) and self.filesystem == other.filesystem

    def __ne__(self, other: object) -> bool:
        return not self == other

    def get_type_name(self) -> str:
        return self.filesystem.type_name

    def normalize_path(self, path: str) -> str:
        return self.filesystem.normalize_path(path)

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return retried(self.filesystem.get_file_info, paths)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        return retried(self.filesystem.get_file_info, selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        retried(self.filesystem.create_dir, path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        retried(self._without, self.filesystem.delete_dir, path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        retried(self.filesystem.delete_dir_contents, path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        raise PermissionError("the root of a filesystem is not emptied")

    def delete_file(self, path: str) -> None:
        retried(self._without, self.filesystem.delete_file, path)

    def move(self, src: str, dest: str) -> None:
        self.filesystem.move(src, dest)

    def copy_file(self, src: str, dest: str) -> None:
        retried(self.filesystem.copy_file, src, dest)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(RetriedFile(lambda: self._opened(path)), mode="r")

    def open_output_stream(self, path: str, metadata: Any = None) -> pa.NativeFile:
        return self.filesystem.open_output_stream(path, metadata=metadata)

    def open_append_stream(self, path: str, metadata: Any = None) -> pa.NativeFile:
        return self.filesystem.open_append_stream(path, metadata=metadata)

    def _without(self, delete: Callable[[str], None], path: str) -> None:
        """Delete what an earlier try may have deleted, though its answer was lost."""
        if self.filesystem.get_file_info(path).type != pafs.FileType.NotFound:
            delete(path)

    def _opened(self, path: str) -> pa.NativeFile:
        try:
            return self.filesystem.open_input_file(path)
        except FileNotFoundError as error:
            # fsspec says so of every file while its storage fails.
            if self.filesystem.get_file_info(path).type == pafs.FileType.File:
                raise OSError(f"{path}: exists and cannot be opened") from error
            raise
