"""A small file that processes replace only while it is what they have read: compare and swap."""

import os
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import obstore
from filelock import FileLock, Timeout
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
from obstore.store import from_url

from ards_ray.storage.location import Location

LOCK_SECONDS = 30
# What the schemes of Arrow are called by the library that puts with a condition.
_STORES = {"s3": "s3", "gs": "gs", "gcs": "gs", "abfs": "abfs", "abfss": "abfss"}


class Replaced(Exception):
    """Another process replaced the file since it was read."""


@dataclass(frozen=True)
class Content:
    """What the file held, and the mark by which its store knows this very content again."""

    content: bytes
    mark: Any


class ExclusiveFile(ABC):
    """A file that is replaced, or made, only if nobody did since it was read."""

    @abstractmethod
    def read(self) -> Content | None:
        """The file, None where there is none."""

    @abstractmethod
    def replace(self, before: Content | None, content: bytes) -> Content:
        """Write the file.

        Args:
            before: What was read of it; None makes it.
            content: The new content.

        Raises:
            Replaced: it is no longer what was read.
            OSError: the storage failed.
        """

    @abstractmethod
    def delete(self, before: Content) -> None:
        """Delete the file if it is still what was read."""


class LocalFile(ExclusiveFile):
    """A file on a filesystem that has locks. It appears whole or not at all."""

    def __init__(self, path: str):
        self._path = path
        folder, name = os.path.split(path)
        self._lock = FileLock(os.path.join(folder, f".{name}.lock"), timeout=LOCK_SECONDS)

    def read(self) -> Content | None:
        try:
            with open(self._path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return None
        return Content(content, None)

    def replace(self, before: Content | None, content: bytes) -> Content:
        with self._locked():
            if self.read() != before:
                raise Replaced
            folder, name = os.path.split(self._path)
            temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}")
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        return Content(content, None)

    def delete(self, before: Content) -> None:
        with self._locked():
            if self.read() == before:
                os.unlink(self._path)

    def _locked(self) -> Any:
        try:
            return self._lock.acquire()
        except Timeout as error:
            raise OSError(f"{self._path}: locked for {LOCK_SECONDS} s by another process") from error


class ObjectFile(ExclusiveFile):
    """An object of S3, Google or Azure storage, put on condition."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        folder, _, self._name = parts.path.rpartition("/")
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        # Whoever names an endpoint without TLS means it.
        config: Any = {"client_options": {"allow_http": True}}
        if "endpoint_override" in options:
            config["endpoint"] = f"{options.get('scheme', 'https')}://{options['endpoint_override']}"
        if "region" in options:
            config["region"] = options["region"]
        if parts.username:
            config |= {"access_key_id": parts.username, "secret_access_key": parts.password}
        bucket = parts.netloc if parts.scheme.startswith("abfs") else parts.netloc.rpartition("@")[2]
        self._store = from_url(urlunsplit((_STORES[parts.scheme], bucket, folder, "", "")), **config)

    def read(self) -> Content | None:
        try:
            found = obstore.get(self._store, self._name)
            return Content(bytes(found.bytes()), _mark(found.meta))
        except (NotFoundError, FileNotFoundError):
            return None
        except BaseError as error:
            raise OSError(f"{self._name}: {error}") from error

    def replace(self, before: Content | None, content: bytes) -> Content:
        try:
            done = obstore.put(self._store, self._name, content, mode=before.mark if before else "create")
        except (AlreadyExistsError, FileExistsError, PreconditionError, NotFoundError, FileNotFoundError) as error:
            raise Replaced from error
        except BaseError as error:
            raise OSError(f"{self._name}: {error}") from error
        return Content(content, _mark(done))

    def delete(self, before: Content) -> None:
        # Stores delete without a condition.
        found = self.read()
        if found is not None and found.content == before.content:
            obstore.delete(self._store, self._name)


class PlainFile(ExclusiveFile):
    """A file of another storage, which has no way to replace on condition: looked at just before it is written."""

    def __init__(self, location: Location):
        self._location = location

    def read(self) -> Content | None:
        return Content(self._location.read_bytes(), None) if self._location.exists() else None

    def replace(self, before: Content | None, content: bytes) -> Content:
        if self.read() != before:
            raise Replaced
        self._location.write(content)
        return Content(content, None)

    def delete(self, before: Content) -> None:
        if self.read() == before:
            self._location.filesystem.delete_file(self._location.path)


def exclusive_file(location: Location, name: str) -> ExclusiveFile:
    """The file of a name in a folder."""
    if location.is_local:
        return LocalFile(os.path.join(location.path, name))
    parts = urlsplit(location.url)
    if parts.scheme in _STORES:
        return ObjectFile(urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}")))
    return PlainFile(location / name)


def _mark(meta: Any) -> dict[str, str]:
    return {key: meta[key] for key in ("e_tag", "version") if meta.get(key)}
