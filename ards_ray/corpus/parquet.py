"""Parquet files, read some rows at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ards_ray.errors import CorpusError
from ards_ray.storage.location import Location

MAGIC = b"PAR1"

# Column chunks of images reach gigabytes: they are read through a window instead of whole.
_WINDOW_BYTES = 4 << 20


@contextmanager
def open_parquet(file: Location) -> Iterator[pq.ParquetFile]:
    """A Parquet file, to be read within the `with` block.

    Raises:
        CorpusError: it is missing or corrupt, also when that shows while it is being read.
        OSError: a remote storage failed; worth another try.
    """
    try:
        with file.filesystem.open_input_file(file.path) as stream:
            yield pq.ParquetFile(stream, pre_buffer=False, buffer_size=_WINDOW_BYTES)
    except FileNotFoundError as error:
        raise CorpusError(f"{file.url}: not found") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise CorpusError(f"{file.url}: corrupt Parquet file ({error})") from error
    except OSError as error:
        # Arrow says OSError for a corrupt page as well as for a failing network.
        if not file.is_local:
            raise
        raise CorpusError(f"{file.url}: corrupt Parquet file, or it cannot be read ({error})") from error


def rows_per_batch(file: pq.ParquetFile, group: int, bytes_per_batch: int) -> int:
    """How many rows of a row group make a batch of about so many bytes; at least one."""
    metadata = file.metadata.row_group(group)
    rows: int = metadata.num_rows
    size: int = max(1, metadata.total_byte_size)
    return max(1, min(rows, bytes_per_batch * rows // size))


def batches_of(
    file: pq.ParquetFile, rows: npt.NDArray[np.int64], columns: list[str] | None, bytes_per_batch: int
) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64]]]:
    """Some rows of a file, read from the row groups that hold them in batches of bounded size.

    Args:
        file: The file.
        rows: Row numbers within the file, ascending.
        columns: Parquet paths of the columns to read; None for all.
        bytes_per_batch: About how much of a row group is held in memory.

    Yields:
        The rows that are in a batch, and their numbers.
    """
    start = 0
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        inside = rows[slice(*np.searchsorted(rows, (start, end)))]
        if len(inside):
            size = rows_per_batch(file, group, bytes_per_batch)
            first = start
            for batch in file.iter_batches(size, row_groups=[group], columns=columns):
                here = inside[slice(*np.searchsorted(inside, (first, first + len(batch))))]
                if len(here):
                    yield batch.take(pa.array(here - first)), here
                first += len(batch)
                if first > inside[-1]:
                    break
        start = end
