"""Whether image files changed: by path, size and time."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.config import Settings
from ards_ray.corpus.readers import embedded_row
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.run.directory import THREADS, Part, RunDirectory
from ards_ray.run.fingerprint import digest
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.signal import OK, SignalDetails
from ards_ray.storage.location import locate

NO_FILES = digest([])


def image_files_digest(settings: Settings, conversations: pa.Table, rows: pa.ChunkedArray) -> str:
    """A digest of the image files of some rows; embedded images are part of the corpus and do not count.

    Args:
        settings: The run's settings.
        conversations: Columns row, images and source of the rows' part.
        rows: The rows.
    """
    if settings.corpus.images is None:
        return NO_FILES
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


def changed_shards(
    run: RunDirectory, settings: Settings, parts: Mapping[str, Sequence[Part[SignalDetails]]]
) -> list[str]:
    """The shards of which an image file changed since a signal was computed from it.

    Args:
        run: The run.
        settings: The run's settings.
        parts: Parts of signals' tables, by signal.
    """
    shards: dict[str, list[tuple[str, Part[SignalDetails]]]] = {}
    for signal, of_signal in parts.items():
        for part in of_signal:
            shards.setdefault(part.name, []).append((signal, part))
    with ThreadPoolExecutor(THREADS) as pool:
        changed = pool.map(lambda name: _has_changed(run, settings, name, shards[name]), shards)
        return [name for name, differs in zip(shards, changed, strict=True) if differs]


def _has_changed(
    run: RunDirectory, settings: Settings, name: str, parts: Sequence[tuple[str, Part[SignalDetails]]]
) -> bool:
    if settings.corpus.images is None:
        # Nothing was read of an image folder, and there is nothing to look at.
        return any(part.details.images != NO_FILES for _, part in parts)
    conversations = CONVERSATIONS.read(run, name, ["row", "images", "source"])
    digests: dict[bytes, str] = {}
    for signal, part in parts:
        table = SIGNALS[signal].table.read(run, name, ["row", "status"])
        rows = table.filter(pc.equal(table["status"], OK))["row"]
        key = np.sort(rows.to_numpy()).tobytes()
        if key not in digests:
            digests[key] = image_files_digest(settings, conversations, rows)
        if digests[key] != part.details.images:
            return True
    return False
