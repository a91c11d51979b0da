"""The files of a run directory, local or at a URL: they appear whole under their final name, or not at all."""

import json
import mmap
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from pyarrow import fs as pafs

from ards_ray.errors import ArdsError
from ards_ray.run.stream import CountedStream
from ards_ray.storage.atomic import whole_file
from ards_ray.storage.location import locate

# Requests that are sent at the same time.
THREADS = 16


class RunFiles:
    """A folder, local or at a URL, and the files in it."""

    def __init__(self, url: str):
        self.location = locate(url)

    @property
    def url(self) -> str:
        return self.location.url

    def exists(self, path: str) -> bool:
        return (self.location / path).exists()

    def read_bytes(self, path: str) -> bytes:
        return (self.location / path).read_bytes()

    def read_json(self, path: str) -> Any:
        try:
            return json.loads(self.read_bytes(path))
        except ValueError as error:
            raise ArdsError(f"{self.url}/{path}: not valid JSON ({error}); the file is damaged") from error

    @contextmanager
    def publish(self, path: str) -> Iterator[CountedStream]:
        """A stream whose content appears under `path` when the block ends well.

        On a file system: a temporary file, synced and renamed. On an object store: one put, at the end.
        """
        target = self.location / path
        if self.location.is_local:
            with whole_file(target.path) as file:
                yield CountedStream(file)
            return
        with tempfile.TemporaryFile() as file:
            counted = CountedStream(file)
            yield counted
            file.flush()
            if not counted.size:
                target.write(b"")
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                target.write(content)

    def write_bytes(self, path: str, content: bytes) -> None:
        with self.publish(path) as stream:
            stream.write(content)

    def write_json(self, path: str, content: Any) -> None:
        self.write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    def list(self, folder: str) -> dict[str, pafs.FileInfo]:
        """What lies in a folder, by path under the run directory; empty where the folder is not there."""
        root = self.location.path.rstrip("/") + "/"
        selector = pafs.FileSelector((root + folder).rstrip("/"), allow_not_found=True)
        return {info.path.removeprefix(root): info for info in self.location.filesystem.get_file_info(selector)}

    def walk(self, folders: Iterable[str]) -> dict[str, pafs.FileInfo]:
        """The files below some folders, by path. Folders are listed at the same time: stores list slowly."""
        found: dict[str, pafs.FileInfo] = {}
        left = list(folders)
        with ThreadPoolExecutor(THREADS) as pool:
            while left:
                listed = {path: info for infos in pool.map(self.list, left) for path, info in infos.items()}
                left = [path for path, info in listed.items() if info.type == pafs.FileType.Directory]
                found.update((path, info) for path, info in listed.items() if info.type == pafs.FileType.File)
        return found

    def delete(self, path: str) -> None:
        if self.exists(path):
            # A storage that failed after it had deleted is asked again, and has it no longer.
            with suppress(FileNotFoundError):
                self.location.filesystem.delete_file((self.location / path).path)
