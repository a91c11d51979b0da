"""The corpus's own records of the chosen conversations, in corpus order, in bounded memory."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

from ards_ray.corpus.table import CONVERSATIONS

# Files of neighbouring rows. They are open together, and some systems allow a process 256 of them.
BUCKETS = 128
SMALLEST_BUCKET = 10_000
BATCH_ROWS = 1000

_SCATTERED = pa.schema([CONVERSATIONS.schema(0).field("row"), CONVERSATIONS.schema(0).field("record")])


def records_in_order(
    conversations: Iterable[pa.Table], selected: np.ndarray, scratch: Path
) -> Iterator[pa.LargeStringArray]:
    """Yield the records of the chosen conversations by row, some at a time.

    Conversations come in the order of shards. The records are first spread over files of neighbouring rows, and then
    sorted one file at a time.

    Args:
        conversations: Their columns `row` and `record`, and others.
        selected: bool, for each row of the corpus.
        scratch: A folder of this call's own, for as many bytes as the mixture has.
    """
    for path in _scatter(conversations, selected, scratch):
        with pa.memory_map(str(path)) as stream:
            table = pa.ipc.open_stream(stream).read_all()
            order = np.argsort(table["row"].to_numpy())
            records = table["record"].combine_chunks()
            for first in range(0, len(order), BATCH_ROWS):
                yield records.take(pa.array(order[first : first + BATCH_ROWS]))
        path.unlink()


def _scatter(conversations: Iterable[pa.Table], selected: np.ndarray, scratch: Path) -> list[Path]:
    """Write row and record of the chosen conversations to files of neighbouring rows, which are returned by row."""
    chosen = np.flatnonzero(selected)
    size = max(SMALLEST_BUCKET, -(-len(chosen) // BUCKETS))
    bounds = chosen[size::size]
    paths = [scratch / f"{number}.arrow" for number in range(-(-len(chosen) // size))]
    with ExitStack() as stack:
        streams = [stack.enter_context(pa.OSFile(str(path), "wb")) for path in paths]
        writers = [stack.enter_context(pa.ipc.new_stream(stream, _SCATTERED)) for stream in streams]
        for table in conversations:
            rows = table["row"].to_numpy()
            wanted = np.flatnonzero(selected[rows])
            buckets = np.searchsorted(bounds, rows[wanted], side="right")
            order = np.argsort(buckets, kind="stable")
            batch = table.select(_SCATTERED.names).take(pa.array(wanted[order])).combine_chunks()
            runs = np.unique(buckets[order], return_index=True, return_counts=True)
            for number, start, count in zip(*runs, strict=True):
                writers[number].write_table(batch.slice(start, count))
    return paths
