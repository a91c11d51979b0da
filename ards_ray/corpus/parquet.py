"""Parquet corpora: what is common to reading conversations, reading images and copying rows."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ards_ray.errors import CorpusError
from ards_ray.storage.location import Location

MAGIC = b"PAR1"

# Column chunks of images reach gigabytes: they are read through a window instead of whole.
_WINDOW_BYTES = 4 << 20
_BATCH_BYTES = 4 << 20


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


def embedded_column(schema: pa.Schema) -> str | None:
    """The Parquet path of the embedded images' bytes, or None where images are not embedded.

    Images are embedded as a binary column `image` or as a struct `image` with a binary field `bytes`.
    """
    if "image" not in schema.names:
        return None
    kind = schema.field("image").type
    if _is_binary(kind):
        return "image"
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type):
        return "image.bytes"
    return None


def light_columns(file: pq.ParquetFile) -> list[str]:
    """The Parquet paths of all columns but the binary ones under `image`."""
    leaves = [file.schema.column(index) for index in range(len(file.schema.names))]
    return [
        leaf.path
        for leaf in leaves
        if not (leaf.path.split(".")[0] == "image" and leaf.physical_type == "BYTE_ARRAY" and not _is_text(leaf))
    ]


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


def parquet_records(file: Location) -> Iterator[tuple[dict[str, Any], str | None]]:
    """The rows of a Parquet file as JSON-like records, and the name of the image that a row embeds.

    The bytes of embedded images are neither read nor part of the record.

    Raises:
        CorpusError: the file is missing or corrupt, has no column `conversations`, or a name twice.
        OSError: a remote storage failed.
    """
    with open_parquet(file) as parquet:
        names = parquet.schema_arrow.names
        if "conversations" not in names:
            raise CorpusError(f"{file.url}: no column 'conversations' among {', '.join(names)}")
        twice = _name_twice(parquet.schema_arrow)
        if twice is not None:
            raise CorpusError(f"{file.url}: the name {twice!r} stands twice among the columns, or in one of them")
        embedded = embedded_column(parquet.schema_arrow)
        columns = light_columns(parquet)
        number = 0
        for group in range(parquet.num_row_groups):
            has_bytes = _has_bytes(parquet, group, embedded)
            rows = rows_per_batch(parquet, group, _BATCH_BYTES)
            start = number
            for batch in parquet.iter_batches(rows, row_groups=[group], columns=columns):
                for record in _readable(batch).to_pylist():
                    # The image takes its place among the keys again where all its columns were left out.
                    record = {name: record.get(name) for name in names}
                    if has_bytes[number - start]:
                        yield record, f"{file.url}#{number}"
                    else:
                        yield record | _path_image(record), None
                    number += 1


def _name_twice(fields: Iterable[pa.Field]) -> str | None:
    """A name that fields which stand side by side share, at any depth."""
    seen = set()
    for field in fields:
        if field.name in seen:
            return str(field.name)
        seen.add(field.name)
        kind = field.type
        inner = _name_twice(kind.field(index) for index in range(kind.num_fields))
        if inner is not None:
            return inner
    return None


def _path_image(record: dict[str, Any]) -> dict[str, Any]:
    """The key of an image that is not embedded, as a plain path."""
    image = record.get("image")
    return {"image": image.get("path")} if isinstance(image, dict) else {}


def _has_bytes(parquet: pq.ParquetFile, group: int, column: str | None) -> npt.NDArray[np.bool_]:
    """Which rows of a row group embed their image; the bytes themselves are read only if nothing else tells."""
    count = parquet.metadata.row_group(group).num_rows
    if column is None:
        return np.zeros(count, bool)
    nulls = _null_count(parquet, group, column)
    if nulls == 0 or nulls == count:
        return np.full(count, nulls == 0)
    beside = [path for path in light_columns(parquet) if path.startswith("image.")]
    if beside and nulls is not None:
        images = parquet.read_row_group(group, columns=beside[:1])["image"]
        if images.null_count == nulls:
            return np.asarray(images.is_valid(), bool)
    rows = rows_per_batch(parquet, group, _BATCH_BYTES)
    batches = parquet.iter_batches(rows, row_groups=[group], columns=[column])
    return np.concatenate([_valid_bytes(batch.column(0)) for batch in batches])


def _valid_bytes(images: pa.Array) -> npt.NDArray[np.bool_]:
    valid = images.is_valid()
    if pa.types.is_struct(images.type):
        valid = pc.and_(valid, images.field("bytes").is_valid())
    return np.asarray(valid, bool)


def _null_count(parquet: pq.ParquetFile, group: int, column: str) -> int | None:
    """How many rows of a row group have no value in a column, if the file says."""
    metadata = parquet.metadata.row_group(group)
    for index in range(metadata.num_columns):
        chunk = metadata.column(index)
        if chunk.path_in_schema == column:
            statistics = chunk.statistics
            return statistics.null_count if statistics is not None and statistics.has_null_count else None
    return None


def _readable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with times as text: Python's own types have no nanoseconds."""
    targets = [_readable_type(column.type) for column in batch.columns]
    columns = [column.cast(target) for column, target in zip(batch.columns, targets, strict=True)]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _readable_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        return pa.string()
    if pa.types.is_duration(kind):
        return pa.int64()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_readable_type(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(_readable_type(kind.value_type)))
    return kind


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _is_text(leaf: pq.ColumnSchema) -> bool:
    return leaf.logical_type.type in ("STRING", "JSON", "ENUM") or leaf.converted_type in ("UTF8", "JSON", "ENUM")
