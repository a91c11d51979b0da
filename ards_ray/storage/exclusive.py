"""A small file that a process replaces only if it still holds what the process read: compare and swap."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit, urlunsplit

import obstore
from filelock import FileLock, Timeout
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
from obstore.store import from_url

from ards_ray.storage.atomic import whole_file
from ards_ray.storage.location import Location

LOCK_SECONDS = 30
# What the schemes of Arrow are called by the library that puts with a condition.
_STORES = {"s3": "s3", "gs": "gs", "gcs": "gs", "abfs": "abfs", "abfss": "abfss"}


class Replaced(Exception):
    """Another process replaced the file since it was read."""


@dataclass(frozen=True)
class Content:
    """What the file held, and the mark by which its store identifies this content."""

    content: bytes
    mark: Any


class ExclusiveFile(ABC):
    """A file that is replaced or created only if no other process did so since it was read."""

    @abstractmethod
    def read(self) -> Content | None:
        """Read the file; None if it does not exist."""

    @abstractmethod
    def replace(self, before: Content | None, content: bytes) -> Content:
        """Write the file.

        Args:
            before: What was read; None creates the file.
            content: The new content.

        Raises:
            Replaced: it is no longer what was read.
            OSError: the storage failed.
        """

    @abstractmethod
    def delete(self, before: Content) -> None:
        """Delete the file if it is still what was read."""


class LocalFile(ExclusiveFile):
    """A file on a filesystem with locks. It appears whole or not at all."""

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
            with whole_file(self._path) as file:
                file.write(content)
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
    """An object of S3, Google or Azure storage, written by conditional put."""

    def __init__(self, location: Location, name: str):
        parts = urlsplit(location.url)
        self._name = name
        self._url = f"{location.url}/{name}"
        # Whoever names an endpoint without TLS means it. Longer than a lease lasts nobody may try.
        config: Any = {
            "client_options": {"allow_http": True, "timeout": "10s"},
            "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
        }
        bucket = parts.netloc if parts.scheme.startswith("abfs") else parts.netloc.rpartition("@")[2]
        if parts.scheme == "s3":
            config |= _s3_options(location, parts)
        with self._failures():
            self._store = from_url(urlunsplit((_STORES[parts.scheme], bucket, parts.path, "", "")), **config)

    def read(self) -> Content | None:
        with self._failures():
            try:
                found = obstore.get(self._store, self._name)
                return Content(bytes(found.bytes()), _mark(found.meta))
            except (NotFoundError, FileNotFoundError):
                return None

    def replace(self, before: Content | None, content: bytes) -> Content:
        with self._failures():
            try:
                done = obstore.put(self._store, self._name, content, mode=before.mark if before else "create")
            except (AlreadyExistsError, FileExistsError, PreconditionError, NotFoundError, FileNotFoundError) as error:
                raise Replaced from error
            return Content(content, _mark(done))

    def delete(self, before: Content) -> None:
        # Stores delete without a condition.
        found = self.read()
        if found is not None and found.content == before.content:
            with self._failures():
                obstore.delete(self._store, self._name)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except BaseError as error:
            # What follows the first line is for the library's own developers.
            raise OSError(f"{self._url}: {str(error).splitlines()[0]}") from error


def _s3_options(location: Location, parts: SplitResult) -> dict[str, Any]:
    """What Arrow takes from the URL, from the bucket and from the user's files, for the other library."""
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    # Arrow asks the bucket where it lies.
    config: dict[str, Any] = {"region": location.filesystem.handler.filesystem.region}
    if "endpoint_override" in options:
        config["endpoint"] = f"{options.get('scheme', 'https')}://{options['endpoint_override']}"
    if parts.username:
        config |= {"access_key_id": parts.username, "secret_access_key": parts.password}
    elif "AWS_ACCESS_KEY_ID" not in os.environ and find_spec("boto3"):
        from obstore.auth.boto3 import Boto3CredentialProvider

        config["credential_provider"] = Boto3CredentialProvider()
    return config


class PlainFile(ExclusiveFile):
    """A file of another storage, which cannot replace on condition: it is read just before it is written."""

    def __init__(self, location: Location):
        self._location = location

    def read(self) -> Content | None:
        try:
            return Content(self._location.read_bytes(), None)
        except FileNotFoundError:
            return None

    def replace(self, before: Content | None, content: bytes) -> Content:
        if self.read() != before:
            raise Replaced
        self._location.write(content)
        return Content(content, None)

    def delete(self, before: Content) -> None:
        if self.read() == before:
            self._location.filesystem.delete_file(self._location.path)


def exclusive_file(location: Location, name: str) -> ExclusiveFile:
    """Return the file of this name in a folder."""
    if location.is_local:
        return LocalFile(os.path.join(location.path, name))
    if urlsplit(location.url).scheme in _STORES:
        return ObjectFile(location, name)
    return PlainFile(location / name)


def _mark(meta: Any) -> dict[str, str]:
    return {key: meta[key] for key in ("e_tag", "version") if meta.get(key)}
