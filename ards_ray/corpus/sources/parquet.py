"""Corpus files in Parquet, whose rows may embed their image."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ards_ray.corpus.parquet import MAGIC, batches_of, open_parquet, rows_per_batch
from ards_ray.corpus.sources.source import BinaryStream, MixtureFile, Records, Source, named
from ards_ray.errors import CorpusError

# Of a row group without the images' bytes, and with them.
_LIGHT_BATCH_BYTES = 4 << 20
_BATCH_BYTES = 8 << 20


class Parquet(Source):
    """A Parquet file with a column `conversations`.

    The mixture has a part for each file of which rows are selected, with all columns and the schema's metadata.
    """

    form = "Parquet"
    kind = "Parquet"
    embeds_images = True
    mixture_name = "mixture"
    mixture_columns = ()

    @classmethod
    def begins(cls, head: bytes) -> bool:
        return head.startswith(MAGIC)

    def records(self) -> Records:
        url = self.file.url
        with named(self.file), open_parquet(self.file) as parquet:
            names = parquet.schema_arrow.names
            if "conversations" not in names:
                raise CorpusError(f"{url}: no column 'conversations' among {', '.join(names)}")
            twice = _name_twice(parquet.schema_arrow)
            if twice is not None:
                raise CorpusError(f"{url}: the name {twice!r} stands twice among the columns, or in one of them")
            embedded = _embedded_column(parquet.schema_arrow)
            columns = _light_columns(parquet)
            number = 0
            for group in range(parquet.num_row_groups):
                has_bytes = _has_bytes(parquet, group, embedded)
                rows = rows_per_batch(parquet, group, _LIGHT_BATCH_BYTES)
                start = number
                for batch in parquet.iter_batches(rows, row_groups=[group], columns=columns):
                    for record in _readable(batch).to_pylist():
                        # The image takes its place among the keys again where all its columns were left out.
                        record = {name: record.get(name) for name in names}
                        if has_bytes[number - start]:
                            yield record, (f"{url}#{number}",)
                        else:
                            yield record | _path_image(record), ()
                        number += 1

    def digest(self) -> str:
        """A digest of the file's size and its footer, which states place, size and range of every column chunk.

        The file itself may hold hundreds of gigabytes of images.
        """
        sha = hashlib.sha256()
        with self.file.filesystem.open_input_file(self.file.path) as stream:
            size = stream.size()
            stream.seek(max(0, size - 8))
            footer = int.from_bytes(stream.read(4), "little")
            stream.seek(max(0, size - 8 - footer))
            sha.update(str(size).encode() + stream.read())
        return sha.hexdigest()

    def images(self, rows: Sequence[int]) -> Mapping[int, bytes]:
        wanted = np.unique(np.asarray(rows, np.int64))
        images: dict[int, bytes] = {}
        with open_parquet(self.file) as parquet:
            column = _embedded_column(parquet.schema_arrow)
            if column is not None:
                # Only the row groups of these rows are read, and nothing else in them.
                for batch, numbers in batches_of(parquet, wanted, [column], _BATCH_BYTES):
                    for row, value in zip(numbers.tolist(), batch.column(0).to_pylist(), strict=True):
                        content = value["bytes"] if isinstance(value, dict) else value
                        if content is not None:
                            images[row] = content
        return images

    @classmethod
    def mixture(
        cls, sources: Sequence[Source], selected: npt.NDArray[np.bool_], records: Iterable[pa.LargeStringArray]
    ) -> Iterator[MixtureFile]:
        """See `Source.mixture`.

        Raises:
            CorpusError: a file is missing or corrupt, or the files have other rows than were selected from.
            OSError: a remote storage failed; worth another try.
        """
        counts = [_row_count(source) for source in sources]
        if sum(counts) != len(selected):
            names = ", ".join(source.file.url for source in sources)
            raise CorpusError(
                f"{names}: {sum(counts):,} rows now, and {len(selected):,} when the corpus was read; "
                "put back the file that changed, or start over with --fresh"
            )
        first = 0
        for number, (source, count) in enumerate(zip(sources, counts, strict=True)):
            chosen = np.flatnonzero(selected[first : first + count])
            first += count
            if len(chosen):
                yield MixtureFile(f"{cls.mixture_name}/part-{number:05d}.parquet", partial(_copy, source, chosen))


def _row_count(source: Source) -> int:
    with open_parquet(source.file) as parquet:
        return int(parquet.metadata.num_rows)


def _copy(source: Source, rows: npt.NDArray[np.int64], stream: BinaryStream) -> int:
    """Write some rows of a file, given by ascending numbers."""
    with open_parquet(source.file) as parquet:
        schema = parquet.schema_arrow
    with pq.ParquetWriter(stream, schema) as writer:
        for batch in _batches(source, rows):
            writer.write_batch(batch.replace_schema_metadata(schema.metadata))
    return len(rows)


def _batches(source: Source, rows: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    with open_parquet(source.file) as parquet:
        for batch, _ in batches_of(parquet, rows, None, _BATCH_BYTES):
            yield batch


def _embedded_column(schema: pa.Schema) -> str | None:
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


def _light_columns(file: pq.ParquetFile) -> list[str]:
    """The Parquet paths of all columns but the binary ones under `image`."""
    leaves = [file.schema.column(index) for index in range(len(file.schema.names))]
    return [
        leaf.path
        for leaf in leaves
        if not (leaf.path.split(".")[0] == "image" and leaf.physical_type == "BYTE_ARRAY" and not _is_text(leaf))
    ]


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
    beside = [path for path in _light_columns(parquet) if path.startswith("image.")]
    if beside and nulls is not None:
        images = parquet.read_row_group(group, columns=beside[:1])["image"]
        if images.null_count == nulls:
            return np.asarray(images.is_valid(), bool)
    rows = rows_per_batch(parquet, group, _LIGHT_BATCH_BYTES)
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
