"""Files by path or URL, through pyarrow's filesystems or, for other schemes, fsspec's."""

import os
import posixpath
from dataclasses import dataclass

import pyarrow as pa
from fsspec.core import url_to_fs
from pyarrow import fs as pafs

from ards_ray.errors import SettingsError


@dataclass(frozen=True)
class Location:
    """A file or folder on a filesystem."""

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
        """The file for reads here and there; a local one is mapped into memory."""
        return pa.memory_map(self.path) if self.is_local else self.filesystem.open_input_file(self.path)


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
        return Location(filesystem, path, path if isinstance(filesystem, pafs.LocalFileSystem) else url)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as not_pyarrow:
        try:
            other, path = url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise SettingsError(f"{url}: cannot be opened ({not_pyarrow}; {error})") from error
        return Location(pafs.PyFileSystem(pafs.FSSpecHandler(other)), path, url)
