"""Writing the mixture: the corpus's own records, in the corpus's own form."""

import io
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.corpus.parquet import batches_of, open_parquet
from ards_ray.errors import CorpusError
from ards_ray.storage.location import locate

_BATCH_BYTES = 8 << 20


def write_json_array(stream: io.RawIOBase | BinaryIO, records: Iterable[pa.LargeStringArray]) -> int:
    """Write JSON texts as one array, a record in each line; returns how many."""
    count = 0
    for some in records:
        if len(some):
            stream.write(b",\n  " if count else b"[\n  ")
            lines = pa.ListArray.from_arrays([0, len(some)], some)
            stream.write(pc.binary_join(lines, pa.scalar(",\n  ", some.type))[0].as_buffer())
            count += len(some)
    stream.write(b"\n]\n" if count else b"[]\n")
    return count


def parquet_schema(file: str) -> pa.Schema:
    """The schema of a Parquet file with its metadata: the schema of `parquet_mixture`'s batches.

    Raises:
        CorpusError: the file is missing or corrupt.
        OSError: a remote storage failed; worth another try.
    """
    with open_parquet(locate(file)) as parquet:
        return parquet.schema_arrow


def parquet_mixture(file: str, selected: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """Stream the selected rows of a Parquet file, all columns and the schema's metadata unchanged.

    Args:
        file: Path or URL.
        selected: Row numbers within the file, ascending.

    Raises:
        CorpusError: the file is missing, corrupt, or has fewer rows than that.
        OSError: a remote storage failed; worth another try.
    """
    with open_parquet(locate(file)) as parquet:
        if len(selected) and selected[-1] >= parquet.metadata.num_rows:
            raise CorpusError(
                f"{file}: row {selected[-1]} of {parquet.metadata.num_rows} was selected; "
                "did the file change since it was read?"
            )
        for batch, _ in batches_of(parquet, selected, None, _BATCH_BYTES):
            yield batch.replace_schema_metadata(parquet.schema_arrow.metadata)
