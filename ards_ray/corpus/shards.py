"""Shards of work: a corpus of any size in pieces of about equal size, all conversations about an image in one."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ards_ray.corpus.readers import Entry, embedded_row
from ards_ray.corpus.table import CONVERSATIONS

# Hash ranges. One of them at a time is sorted, so about a 128th of the corpus is what must fit in memory, twice.
# Their files are open together, and some systems allow a process 256 of them.
_BUCKETS = 128
# Held back for each bucket before it is written, in rows and characters.
_PENDING_ROWS = 256
_PENDING_CHARACTERS = 256 << 10

# `together`: rows of the same key stay in one shard.
_SCATTERED = CONVERSATIONS.schema(0).append(pa.field("key", pa.uint64())).append(pa.field("together", pa.bool_()))


def shard_corpus(entries: Iterable[Entry], shard_size: int, scratch: Path) -> Iterator[pa.Table]:
    """Group a stream of conversations into shards, in bounded memory.

    Conversations are ordered by a hash of their first image, or of their row where there is none, and cut into shards
    of about equal size: at most `shard_size` conversations, with all that share a first image in one shard, unless
    those alone are more. Embedded images, which no other conversation shares, are hashed by their block of the file
    instead, so that a shard reads few row groups. The shards depend on the corpus and `shard_size` alone.

    Args:
        entries: The corpus.
        shard_size: Conversations in a shard, at least 1.
        scratch: A folder of this call's own, for about as many bytes as the corpus has without images.

    Yields:
        A table with the schema `CONVERSATIONS`, by row.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    buckets: list[Path] = []
    try:
        count = _scatter(entries, shard_size, scratch, buckets)
        yield from _gather(buckets, count, shard_size)
    finally:
        for path in buckets:
            path.unlink(missing_ok=True)


def _key(entry: Entry, shard_size: int) -> tuple[int, bool]:
    """Where an entry stands in the order of shards, and whether those of the same key stay together."""
    image = entry.images[0] if entry.images else None
    number = None if image is None else embedded_row(image, entry.source)
    if number is not None:
        # The file by its first row, so that shards stay the same where the corpus is moved.
        name = f"block {entry.row - number} {number // shard_size}"
    elif image is not None:
        name = f"image {image}"
    else:
        name = f"row {entry.row}"
    digest = blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big"), number is None


# Pass 1


class _Bucket:
    """Entries of one hash range on their way to a file."""

    def __init__(self, path: Path, files: ExitStack):
        stream = files.enter_context(pa.OSFile(str(path), "wb"))
        self._writer = files.enter_context(pa.ipc.new_stream(stream, _SCATTERED))
        self._rows: list[dict[str, Any]] = []
        self._characters = 0

    def add(self, entry: Entry, key: int, together: bool) -> None:
        self._rows.append(vars(entry) | {"key": key, "together": together})
        self._characters += len(entry.record)
        if len(self._rows) >= _PENDING_ROWS or self._characters >= _PENDING_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, _SCATTERED))
            self._rows = []
            self._characters = 0


def _scatter(entries: Iterable[Entry], shard_size: int, scratch: Path, paths: list[Path]) -> int:
    """Write every entry to the file of its hash range; appends the files to `paths` in the order of their ranges."""
    buckets: dict[int, _Bucket] = {}
    count = 0
    with ExitStack() as files:
        try:
            for entry in entries:
                key, together = _key(entry, shard_size)
                index = key * _BUCKETS >> 64
                if index not in buckets:
                    buckets[index] = _Bucket(_path(scratch, index), files)
                buckets[index].add(entry, key, together)
                count += 1
            for bucket in buckets.values():
                bucket.flush()
        finally:
            paths.extend(_path(scratch, index) for index in sorted(buckets))
    return count


def _path(scratch: Path, index: int) -> Path:
    return scratch / f"bucket-{index:03d}.arrow"


# Pass 2


def _gather(buckets: list[Path], count: int, shard_size: int) -> Iterator[pa.Table]:
    """Cut the buckets, one after the other, into shards; what a bucket leaves over goes in front of the next."""
    rest = _SCATTERED.empty_table()
    for number, path in enumerate(buckets, start=1):
        with pa.memory_map(str(path)) as stream:
            table = pa.concat_tables([rest, _ordered(pa.ipc.open_stream(stream).read_all())])
            start = 0
            for size in _cuts(_groups(table), count, shard_size, last=number == len(buckets)):
                shard = table.slice(start, size)
                yield shard.take(np.argsort(shard["row"].to_numpy())).select(CONVERSATIONS.schema(0).names)
                start += size
                count -= size
            # A copy, so that the rest of the bucket is let go.
            rest = table.slice(start).take(np.arange(len(table) - start))
        path.unlink()


def _ordered(table: pa.Table) -> pa.Table:
    return table.take(np.lexsort((table["row"].to_numpy(), table["key"].to_numpy())))


def _groups(table: pa.Table) -> list[int]:
    """Sizes of the runs of rows that stay together."""
    if not len(table):
        return []
    keys = table["key"].to_numpy()
    separate = (keys[1:] != keys[:-1]) | ~table["together"].to_numpy(zero_copy_only=False)[1:]
    starts = np.concatenate(([0], np.flatnonzero(separate) + 1, [len(keys)]))
    sizes: list[int] = np.diff(starts).tolist()
    return sizes


def _cuts(groups: list[int], count: int, shard_size: int, last: bool) -> Iterator[int]:
    """Sizes of the shards that begin with these groups; with what is not enough for a shard left over unless `last`.

    Args:
        groups: Sizes of groups, in order.
        count: Conversations in these groups and all that follow.
        shard_size: The most that a shard holds, unless one group has more: that one is cut as well.
        last: Nothing follows.
    """
    size = 0
    for group in groups:
        if size and size + group > shard_size:
            yield size
            count -= size
            size = 0
        size += group
        while size > shard_size:
            yield shard_size
            count -= shard_size
            size -= shard_size
        # What remains, in as few shards as it can be, of the same size.
        if size >= -(-count // -(-count // shard_size)):
            yield size
            count -= size
            size = 0
    if size and last:
        yield size
