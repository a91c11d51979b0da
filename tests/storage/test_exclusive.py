"""Files that only one process replaces: on disk, on S3, and on a storage that cannot."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyarrow import fs

from ards_ray.storage.exclusive import ExclusiveFile, Replaced, exclusive_file
from ards_ray.storage.location import locate

BUCKET = "bucket"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server on this machine."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    kept = dict(os.environ)
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    store = fs.S3FileSystem(allow_bucket_creation=True, endpoint_override=f"{host}:{port}", scheme="http")
    store.create_dir(BUCKET)
    yield f"{host}:{port}"
    os.environ.clear()
    os.environ.update(kept)
    server.stop()


@pytest.fixture(params=["disk", "s3", "s3 in the environment", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = tmp_path.name
    if request.param == "disk":
        return str(tmp_path)
    if request.param == "memory":
        return f"memory://{name}"
    endpoint = request.getfixturevalue("endpoint")
    if request.param == "s3":
        return f"s3://{BUCKET}/{name}?scheme=http&endpoint_override={endpoint}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{endpoint}")
    return f"s3://{BUCKET}/{name}"


def open_file(folder: str) -> ExclusiveFile:
    return exclusive_file(locate(folder), "lease.json")


def test_only_the_first_makes_it_and_only_who_has_read_it_replaces_it(folder: str) -> None:
    """Two drivers that both think that they hold the run mix their results."""
    mine, theirs = open_file(folder), open_file(folder)
    assert mine.read() is None
    first = mine.replace(None, b"one")
    with pytest.raises(Replaced):
        theirs.replace(None, b"theirs")
    seen = theirs.read()
    assert seen is not None
    assert seen.content == b"one"
    second = mine.replace(first, b"two")
    with pytest.raises(Replaced):
        theirs.replace(seen, b"theirs")
    theirs.delete(seen)
    found = mine.read()
    assert found is not None
    assert found.content == b"two"
    mine.delete(second)
    assert mine.read() is None
    with pytest.raises(Replaced):
        theirs.replace(seen, b"theirs")


def test_of_many_at_once_one_wins(folder: str) -> None:
    """A cluster's scheduler starts the same job twice in the same second."""
    if folder.startswith("memory"):
        pytest.skip("this storage cannot replace on condition, as docs/guarantees.md says")
    files = [open_file(folder) for _ in range(8)]

    def take(number: int) -> bool:
        try:
            files[number].replace(None, str(number).encode())
        except Replaced:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(take, range(8)))
    assert sum(won) == 1
    found = files[0].read()
    assert found is not None
    assert found.content == str(won.index(True)).encode()


def test_where_it_lies(folder: str) -> None:
    """The lease must lie beside the run's other files, or each driver looks for it somewhere else."""
    open_file(folder).replace(None, b"one")
    location = locate(folder)
    assert location.filesystem.get_file_info(f"{location.path}/lease.json").is_file
