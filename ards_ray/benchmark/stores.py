"""Storage that counts what is asked of it: a local folder, and an S3 server in a process of its own."""

import multiprocessing
import os
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock, Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import fsspec
from fsspec.implementations.local import LocalFileSystem

# A store lists so many objects for one request.
PAGE = 1000
BUCKET = "bucket"
REGION = "us-east-1"
# After every other character of a key.
LAST = "\U0010ffff"


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
    """A server whose bucket holds the files of a local folder as they are now, for reading.

    The environment names it for the `with` block.
    """
    context = multiprocessing.get_context("spawn")
    channel, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(folder, theirs), daemon=True)
    before = dict(os.environ)
    process.start()
    # So that the end of a server that could not start is seen.
    theirs.close()
    try:
        os.environ |= {
            "AWS_ENDPOINT_URL": channel.recv(),
            "AWS_ACCESS_KEY_ID": "anyone",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": REGION,
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
    server = _Server(("127.0.0.1", 0), _Requests)
    server.load(folder)
    Thread(target=server.serve_forever, daemon=True).start()
    channel.send("http://{}:{}".format(*server.server_address))
    while True:
        channel.recv()
        counts, server.counts = server.counts, Counter()
        channel.send(counts)


class _Server(ThreadingHTTPServer):
    """The keys of the bucket, sorted, with their files' sizes and times."""

    daemon_threads = True

    def load(self, folder: str) -> None:
        self.folder = folder
        self.counts: Counter[str] = Counter()
        files = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
        self.files = {os.path.relpath(path, folder): os.stat(path) for path in files}
        self.keys = sorted(self.files)

    def page(self, prefix: str, delimiter: str, after: str, most: int) -> tuple[list[str], list[str], bool]:
        """The keys that begin with a prefix and come after a name, the folders among them, and whether more follow."""
        keys: list[str] = []
        folders: list[str] = []
        place = max(bisect_left(self.keys, prefix), bisect_right(self.keys, after))
        while place < len(self.keys) and self.keys[place].startswith(prefix):
            if len(keys) + len(folders) == most:
                return keys, folders, True
            key = self.keys[place]
            folder, found, _ = key.removeprefix(prefix).partition(delimiter) if delimiter else (key, "", "")
            if found:
                folders.append(prefix + folder + delimiter)
                place = bisect_right(self.keys, folders[-1] + LAST)
            else:
                keys.append(key)
                place += 1
        return keys, folders, False


class _Requests(BaseHTTPRequestHandler):
    """The requests of S3 that reading takes; what is put is not kept."""

    protocol_version = "HTTP/1.1"
    # Answers are small, and each is waited for.
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        key, query = self._asked()
        if "list-type" in query:
            self.server.counts["pages listed"] += 1
            self._list(query)
        else:
            self.server.counts["objects read"] += 1
            self._object(key, send=True)

    def do_HEAD(self) -> None:
        self.server.counts["looks"] += 1
        key, _ = self._asked()
        self._object(key, send=False) if key else self._answer(HTTPStatus.OK)

    def do_PUT(self) -> None:
        self.server.counts["writes"] += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(HTTPStatus.OK, headers={"ETag": '"0"'})

    def log_message(self, *arguments: Any) -> None:
        pass

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return unquote(parts.path).removeprefix(f"/{BUCKET}").removeprefix("/"), query

    def _list(self, query: dict[str, str]) -> None:
        prefix = query.get("prefix", "")
        after = query.get("continuation-token", query.get("start-after", ""))
        most = int(query.get("max-keys", PAGE))
        keys, folders, more = self.server.page(prefix, query.get("delimiter", ""), after, most)
        contents = []
        for key in keys:
            file = self.server.files[key]
            contents.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>{_time(file.st_mtime)}</LastModified>"
                f"<ETag>&quot;0&quot;</ETag><Size>{file.st_size}</Size></Contents>"
            )
        contents += [f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders]
        token = ""
        if more:
            # All that begins with the name of a folder is in it.
            last = max(keys[-1:] + [name + LAST for name in folders[-1:]])
            token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>"
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>{most}</MaxKeys>"
            f"<KeyCount>{len(keys) + len(folders)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
            f"{''.join(contents)}</ListBucketResult>"
        )
        self._answer(HTTPStatus.OK, body.encode(), {"Content-Type": "application/xml"})

    def _object(self, key: str, send: bool) -> None:
        file = self.server.files.get(key)
        if file is None:
            self._answer(HTTPStatus.NOT_FOUND)
            return
        headers = {"ETag": '"0"', "Last-Modified": formatdate(file.st_mtime, usegmt=True), "Accept-Ranges": "bytes"}
        if not send:
            self._answer(HTTPStatus.OK, None, {**headers, "Content-Length": str(file.st_size)})
            return
        content = Path(self.server.folder, key).read_bytes()
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"
            self._answer(HTTPStatus.PARTIAL_CONTENT, content[first : last + 1], headers)
        else:
            self._answer(HTTPStatus.OK, content, headers)

    def _answer(self, status: HTTPStatus, body: bytes | None = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"x-amz-bucket-region": REGION, **(headers or {})}.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body:
            self.wfile.write(body)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
