"""The conversations stage: the corpus is read once, and written as a table of shards."""

import hashlib
from collections.abc import Sequence
from typing import Any

from ards_ray.config import Settings
from ards_ray.corpus.readers import is_parquet
from ards_ray.run.stage import Job
from ards_ray.signals.conversations import CONVERSATIONS, write_conversations
from ards_ray.storage.location import locate

# Raised when the code changes what it writes.
VERSION = 3


def conversations_inputs(settings: Settings, corpus: Sequence[str]) -> dict[str, Any]:
    """What the conversations depend on; `corpus` holds a digest of each corpus file."""
    return {"version": VERSION, "corpus.files": list(corpus), "runtime.shard_size": settings.runtime.shard_size}


def ensure_conversations(job: Job, inputs: dict[str, Any]) -> None:
    """Write the conversations, unless they are there."""
    if job.state.is_done("conversations", inputs) and not _embedded_images_moved(job):
        return
    with job.stage("conversations", inputs) as stage, job.progress("conversations", None, "rows") as progress:
        CONVERSATIONS.discard(job.run)
        for part in write_conversations(job.run, job.settings, stage):
            progress.advance(part.rows)


def _embedded_images_moved(job: Job) -> bool:
    """Whether a Parquet corpus lies elsewhere now: embedded images are read from where the conversations say."""
    files = job.settings.corpus.files
    if not is_parquet(files[0]):
        return False
    sources = job.run.read_columns(CONVERSATIONS.parts(job.run), ["source"])["source"]
    return not set(sources.unique().to_pylist()) <= set(files)


def corpus_digest(file: str) -> str:
    """A digest of a corpus file's content.

    A Parquet file, which may hold hundreds of gigabytes of images, is told by its size and its footer, which states
    the place, size and range of every column chunk.

    Raises:
        CorpusError: the file cannot be read, or is no corpus file.
    """
    parquet = is_parquet(file)
    location = locate(file)
    sha = hashlib.sha256()
    with location.filesystem.open_input_file(location.path) as stream:
        if parquet:
            size = stream.size()
            stream.seek(size - 8)
            footer = int.from_bytes(stream.read(4), "little")
            stream.seek(max(0, size - 8 - footer))
            sha.update(str(size).encode() + stream.read())
        else:
            while chunk := stream.read(1 << 24):
                sha.update(chunk)
    return sha.hexdigest()
