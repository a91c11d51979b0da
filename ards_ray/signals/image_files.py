"""Whether image files changed: by path, size and time."""

import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.config import Settings
from ards_ray.corpus.readers import embedded_row
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.run.fingerprint import digest
from ards_ray.storage.location import locate


def image_files_digest(settings: Settings, conversations: pa.Table, rows: pa.ChunkedArray) -> str:
    """A digest of the image files of some rows; embedded images are part of the corpus and do not count.

    Args:
        settings: The run's settings.
        conversations: Columns row, images and source of the rows' part.
        rows: The rows.
    """
    if settings.corpus.images is None:
        return digest([])
    chosen = conversations.filter(pc.is_in(conversations["row"], pa.chunked_array(rows)))
    names = sorted(
        {
            image
            for images, source in zip(chosen["images"].to_pylist(), chosen["source"].to_pylist(), strict=True)
            for image in images
            if embedded_row(image, source) is None
        }
    )
    folder = locate(settings.corpus.images)
    infos = folder.filesystem.get_file_info([(folder / name).path for name in names])
    return digest(f"{name} {info.size} {info.mtime_ns}" for name, info in zip(names, infos, strict=True))


def images_changed(run: RunDirectory, settings: Settings, part: Part) -> bool:
    """Whether an image file of a scored row changed since the part was written."""
    signals = run.read_table(part.path, ["row", "status"])
    conversations = run.read_table(f"conversations/{part.name}.parquet", ["row", "images", "source"])
    rows = signals.filter(pc.equal(signals["status"], "ok"))["row"]
    return image_files_digest(settings, conversations, rows) != part.details["images"]
