"""Images of questions: where they lie, opened only when a question is asked."""

import base64
import binascii
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pyarrow.fs import FileInfo

from ards_ray.config import Links
from ards_ray.corpus.images import decode_image, read_image, relative_path
from ards_ray.corpus.parquet import batches_of, open_parquet
from ards_ray.errors import ConversationError
from ards_ray.storage.location import Location, locate

_BATCH_BYTES = 8 << 20


@dataclass(frozen=True)
class FileImage:
    """An image file, by its path under the benchmark's image folder."""

    path: str


@dataclass(frozen=True)
class ParquetImage:
    """An image in a row of a Parquet file, in a struct column with the field `bytes`."""

    file: str
    column: str
    row: int


@dataclass(frozen=True)
class Base64Image:
    """An image that stands as base64 between two bytes of a file."""

    file: str
    start: int
    end: int


ImageSource = FileImage | ParquetImage | Base64Image


def image_stamps(sources: Iterable[ImageSource], folder: Location | None) -> Mapping[ImageSource, str]:
    """For each image what changes when its file does: the file's size and time. Missing files and
    those that cannot be looked at have none.

    Args:
        sources: Where they lie.
        folder: The image folder, for image files.
    """
    places = {source: place for source in sources if (place := _file_of(source, folder)) is not None}
    stamps: dict[str, str] = {}
    by_scheme: dict[str, dict[str, Location]] = defaultdict(dict)
    for place in places.values():
        by_scheme[place.url.rpartition("://")[0]][place.url] = place
    for files in by_scheme.values():
        filesystem = next(iter(files.values())).filesystem
        try:
            infos = filesystem.get_file_info([place.path for place in files.values()])
        except OSError:
            # One path that is too long, or in a folder that may not be entered, is an error for all.
            infos = [_info(place) for place in files.values()]
        stamps |= {
            url: f"{info.size} {info.mtime_ns}" for url, info in zip(files, infos, strict=True) if info is not None
        }
    return {source: stamps[place.url] for source, place in places.items() if place.url in stamps}


def _info(place: Location) -> FileInfo | None:
    try:
        return place.info()
    except OSError:
        return None


def _file_of(source: ImageSource, folder: Location | None) -> Location | None:
    if not isinstance(source, FileImage):
        return locate(source.file)
    try:
        return None if folder is None else folder / relative_path(source.path, folder)
    except ConversationError:
        return None


def open_image(
    source: ImageSource, folder: Location | None, max_pixels: int, upright: bool = False, links: Links = "refuse"
) -> Image.Image:
    """The RGB image.

    Args:
        source: Where it lies.
        folder: The image folder, for image files.
        max_pixels: Largest image.
        upright: Whether it is turned as its EXIF orientation says.
        links: Whether symbolic links in the image folder that lead out of it are followed.

    Raises:
        ConversationError: there is no such image, or it cannot be used; says why.
        CorpusError: the Parquet file is missing or corrupt.
        OSError: the storage failed; worth another try.
    """
    if isinstance(source, FileImage):
        content = read_image(source.path, folder, links)
    elif isinstance(source, ParquetImage):
        content = _read_parquet(source)
    else:
        content = _read_base64(source)
    return decode_image(content, max_pixels, upright)


def _read_parquet(source: ParquetImage) -> bytes:
    with open_parquet(locate(source.file)) as parquet:
        rows = np.array([source.row], np.int64)
        path = f"{source.column}.bytes"
        if path in (parquet.schema.column(index).path for index in range(len(parquet.schema))):
            for batch, _ in batches_of(parquet, rows, [path], _BATCH_BYTES):
                value = batch.column(0)[0].as_py()
                if value is not None and value["bytes"] is not None:
                    content: bytes = value["bytes"]
                    return content
    raise ConversationError("image not found", f"no bytes in column {source.column}, row {source.row} of {source.file}")


def _read_base64(source: Base64Image) -> bytes:
    with locate(source.file).open_bytes() as stream:
        stream.seek(source.start)
        text = stream.read(source.end - source.start)
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        place = f"bytes {source.start} to {source.end} of {source.file}"
        raise ConversationError("image cannot be decoded", f"{place} are no base64 ({error})") from error
