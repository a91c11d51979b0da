"""Files by path or URL, through pyarrow's filesystems or, for other schemes, fsspec's."""

import mmap
import os
import posixpath
from dataclasses import dataclass

import pyarrow as pa
from fsspec.core import url_to_fs
from pyarrow import fs as pafs

from ards_ray.errors import SettingsError
from ards_ray.storage.retries import FSSpecHandler, RetryingHandler, retried


@dataclass(frozen=True)
class Location:
    """A file or folder on a filesystem. Calls of a remote filesystem are retried after transient errors."""

    filesystem: pafs.FileSystem
    path: str
    url: str

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    def __truediv__(self, name: str) -> "Location":
        return Location(self.filesystem, posixpath.join(self.path, name), posixpath.join(self.url, name))

    def exists(self) -> bool:
        return self.info().type != pafs.FileType.NotFound

    def info(self) -> pafs.FileInfo:
        return self.filesystem.get_file_info(self.path)

    def read_bytes(self) -> bytes:
        with self.filesystem.open_input_file(self.path) as stream:
            return stream.read()

    def open_bytes(self) -> pa.NativeFile:
        """Open the file for random reads; a local file is mapped into memory."""
        return pa.memory_map(self.path) if self.is_local else self.filesystem.open_input_file(self.path)

    def write(self, content: bytes | mmap.mmap) -> None:
        """Write the whole file, in one put on an object store."""
        retried(self._write, content)

    def _write(self, content: bytes | mmap.mmap) -> None:
        with self.filesystem.open_output_stream(self.path) as stream:
            # At once: an interrupt between two writes would make the stream end, and the store take half for a file.
            stream.write(content)


def locate(url: str) -> Location:
    """The location of a path or URL; a local path is made absolute.

    Raises:
        SettingsError: the scheme is unknown, or what it needs is not installed.
    """
    if "://" not in url:
        path = os.path.abspath(os.path.expanduser(url))
        return Location(pafs.LocalFileSystem(), path, path)
    try:
        filesystem, path = pafs.FileSystem.from_uri(url)
        if isinstance(filesystem, pafs.LocalFileSystem):
            return Location(filesystem, path, path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as not_pyarrow:
        try:
            other, path = url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise SettingsError(f"{url}: cannot be opened ({not_pyarrow}; {error})") from error
        filesystem = pafs.PyFileSystem(FSSpecHandler(other))
    return Location(pafs.PyFileSystem(RetryingHandler(filesystem)), path, url)
