"""The conversations stage: the corpus is read once, and written as a table of shards."""

from collections import Counter
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any

from ards_ray.config import Settings
from ards_ray.corpus.readers import read_corpus
from ards_ray.corpus.shards import shard_corpus
from ards_ray.corpus.sources.registry import open_corpus
from ards_ray.corpus.table import CONVERSATIONS, ConversationsDetails
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.run.stage import Job
from ards_ray.storage.scratch import scratch_folder

# Raised when the code changes what it writes.
VERSION = 3


def conversations_inputs(settings: Settings, corpus: Sequence[str]) -> dict[str, Any]:
    """What the conversations depend on; `corpus` holds a digest of each corpus file."""
    return {"version": VERSION, "corpus.files": list(corpus), "runtime.shard_size": settings.runtime.shard_size}


def ensure_conversations(job: Job, inputs: dict[str, Any]) -> None:
    """Write the conversations, unless they are there."""
    if job.state.is_done(CONVERSATIONS.folder, inputs) and not _embedded_images_moved(job):
        return
    with job.stage(CONVERSATIONS.folder, inputs) as stage, job.progress("conversations", None, "rows") as progress:
        CONVERSATIONS.discard(job.run)
        for part in write_conversations(job.run, job.settings, stage):
            progress.advance(part.rows)


def write_conversations(run: RunDirectory, settings: Settings, stage: str) -> Iterator[Part]:
    """Write the conversations parts, yielding each.

    Raises:
        CorpusError: a corpus file cannot be read.
    """
    with scratch_folder(run.url) as scratch:
        entries = read_corpus(settings.corpus.files)
        started = monotonic()
        for number, table in enumerate(shard_corpus(entries, settings.runtime.shard_size, scratch)):
            details = ConversationsDetails(
                dict(Counter(table["format"].to_pylist())), sorted(table["source"].unique().to_pylist())
            )
            yield CONVERSATIONS.write(run, f"part-{number:05d}", table, stage, started, details)
            started = monotonic()


def _embedded_images_moved(job: Job) -> bool:
    """Whether a corpus with embedded images lies elsewhere now: they are read from where the conversations say."""
    files = job.settings.corpus.files
    if not any(source.embeds_images for source in open_corpus(files)):
        return False
    return any(not set(part.details.sources) <= set(files) for part in CONVERSATIONS.parts(job.run))
