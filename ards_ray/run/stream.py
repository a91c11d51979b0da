"""What is written to a file of the run: counted, summed up, and where a table's vectors lie in it."""

import hashlib
import io
from collections.abc import Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ards_ray.run.vectors import vectors_of


class CountedStream(io.RawIOBase):
    """Passes bytes on, counts them and sums them up."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self.sha = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._stream.write(content)
        self.sha.update(content)
        size = memoryview(content).nbytes
        self.size += size
        return size

    def holds(self, content: bytes, offset: int) -> bool:
        """Whether what was written holds `content` from a byte on."""
        self._stream.seek(offset)
        try:
            return self._stream.read(len(content)) == content
        finally:
            self._stream.seek(self.size)


def vector_offsets(metadata: pq.FileMetaData, groups: Sequence[pa.Table], written: CountedStream) -> list[int]:
    """Where the numbers of each row group's column `vector` begin in a Parquet file; see `Part.vectors`.

    Plain, uncompressed and in one page, they are the last bytes of their column chunk. The written bytes are compared
    with the numbers, so that nothing rests on how this version of Parquet's writer lays out its pages.
    """
    offsets = []
    paths = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    leaf = next(index for index, path in enumerate(paths) if path.startswith("vector."))
    for number, group in enumerate(groups):
        numbers = vectors_of(group["vector"].drop_null()).tobytes()
        column = metadata.row_group(number).column(leaf)
        end = column.data_page_offset + column.total_compressed_size
        if not written.holds(numbers, end - len(numbers)):
            return []
        offsets.append(end - len(numbers))
    return offsets
