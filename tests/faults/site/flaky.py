"""A storage whose every tenth call fails, as fsspec finds it: `flaky:///some/folder`."""

import os
from itertools import count
from typing import Any

from fsspec.implementations.local import LocalFileSystem

CALLS = count(1)


def call() -> None:
    number = next(CALLS)
    if number % 10 == 0:
        with open(os.environ["FAULTS_FILE"] + ".failed", "a") as log:
            log.write("x")
        raise TimeoutError(f"call {number} got no answer")


class FlakyFileSystem(LocalFileSystem):  # type: ignore[misc]
    """The local files, behind a network that loses every tenth call; those named `.forbidden` may not be read."""

    protocol = "flaky"

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        call()
        return super().info(path, **options)

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        call()
        # One call, whatever the folder holds.
        return LocalFileSystem().ls(path, detail=detail, **options)

    def rm_file(self, path: str) -> None:
        call()
        super().rm_file(path)

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        call()
        if path.endswith(".forbidden"):
            raise PermissionError(f"{path}: AWS Error ACCESS_DENIED")
        if "w" in mode:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        return FlakyFile(super()._open(path, mode, **options))

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(LocalFileSystem._strip_protocol(str(path).removeprefix("flaky://")))


class FlakyFile:
    """An open file whose reads and writes are calls as well."""

    def __init__(self, file: Any):
        self._file = file

    def read(self, *arguments: Any) -> bytes:
        call()
        return self._file.read(*arguments)

    def write(self, content: bytes) -> int:
        call()
        return self._file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
