"""Storage that counts what is asked of it: a local folder, and an S3 server in a process of its own."""

import logging
import multiprocessing
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ards_ray.errors import SettingsError

# A store lists so many objects for one request.
PAGE = 1000
BUCKET = "bucket"
_REQUEST = re.compile(r"(GET|HEAD|PUT|POST|DELETE) /[^?\s]*(\S*) HTTP/")
_KINDS = {"GET": "objects read", "HEAD": "looks", "PUT": "writes", "POST": "writes", "DELETE": "deletions"}


class CountedFileSystem(LocalFileSystem):  # type: ignore[misc]
    """The local folders under `counted://`, as a store would be asked for them; `counts` holds what was asked."""

    protocol = "counted"
    cachable = False
    counts: ClassVar[Counter[str]] = Counter()
    _lock = Lock()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return LocalFileSystem._strip_protocol(str(path).removeprefix("counted://"))

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        # Of another instance, whose looks at each file are not requests of their own.
        found = LocalFileSystem().ls(path, detail=detail, **options)
        self._count("pages listed", max(1, -(-len(found) // PAGE)))
        return found

    def info(self, path: str, **options: Any) -> Any:
        self._count("looks")
        return super().info(path, **options)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        self._count("objects read" if mode == "rb" else "writes")
        return super()._open(path, mode, block_size, **options)

    def _count(self, kind: str, number: int = 1) -> None:
        with self._lock:
            self.counts[kind] += number


fsspec.register_implementation("counted", CountedFileSystem)


class S3:
    """An S3 server on the loopback address; `url` is that of its bucket."""

    def __init__(self, url: str, channel: Connection):
        self.url = url
        self._channel = channel

    def counts(self) -> Counter[str]:
        """Requests since they were last asked for."""
        self._channel.send(None)
        counts: Counter[str] = self._channel.recv()
        return counts


@contextmanager
def s3_server(folder: str) -> Iterator[S3]:
    """A server whose bucket holds the files of a local folder; the environment names it for the `with` block.

    Raises:
        SettingsError: the server's package is not installed.
    """
    if find_spec("moto") is None:
        raise SettingsError("--s3: needs the package moto; install the development requirements, `pip install .[dev]`")
    context = multiprocessing.get_context("spawn")
    channel, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(folder, theirs), daemon=True)
    before = dict(os.environ)
    process.start()
    try:
        os.environ |= {
            "AWS_ENDPOINT_URL": channel.recv(),
            "AWS_ACCESS_KEY_ID": "anyone",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        yield S3(f"s3://{BUCKET}", channel)
    finally:
        process.terminate()
        process.join()
        os.environ.clear()
        os.environ |= before


def _serve(folder: str, channel: Connection) -> None:
    """Serve the files of a folder, and tell the address, then the requests whenever they are asked for."""
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    # Straight into the server's memory: 400,000 requests would take longer than all that is measured.
    store = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    store.create_bucket(BUCKET, "us-east-1")
    root = Path(folder)
    for parent, _, names in os.walk(root):
        for name in names:
            file = Path(parent, name)
            store.put_object(BUCKET, str(file.relative_to(root)), file.read_bytes())
    requests = _Requests()
    logger = logging.getLogger("werkzeug")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(requests)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    channel.send(f"http://{host}:{port}")
    while True:
        channel.recv()
        counts, requests.counts = requests.counts, Counter()
        channel.send(counts)


class _Requests(logging.Handler):
    """Counts the requests in the server's log."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if found := _REQUEST.search(record.getMessage()):
            method, query = found.groups()
            self.counts["pages listed" if "list-type" in query else _KINDS[method]] += 1
