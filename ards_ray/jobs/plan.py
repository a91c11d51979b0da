"""What a selection would do, without doing it."""

import random
from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.filesize import decimal

from ards_ray.cluster.resources import plan_workers, resolve_device
from ards_ray.cluster.session import ray_session
from ards_ray.config import Settings
from ards_ray.console import say, table_of
from ards_ray.corpus.images import has_image
from ards_ray.corpus.readers import embedded_row, read_corpus
from ards_ray.jobs.resolve import with_absolute_paths
from ards_ray.methods.registry import methods_of
from ards_ray.mixture.budget import budget_count
from ards_ray.models.checkpoint import checkpoint_folder
from ards_ray.models.family import load_inputs
from ards_ray.models.loading import check_proxy
from ards_ray.run.progress import StageProgress
from ards_ray.signals.conversations import attack_on
from ards_ray.storage.location import locate

IMAGE_SAMPLE = 1000
# Numbers and short texts of a row in all tables together, beside its record and its vector.
ROW_BYTES = 150


def plan(settings: Settings, console: Console) -> None:
    """Read the corpus and print what a selection would do: nothing is scored and nothing is written.

    Raises:
        SettingsError: a setting or an input file is wrong.
    """
    methods = methods_of(settings)
    settings = with_absolute_paths(settings, methods)
    folder = checkpoint_folder(str(settings.proxy.model), weights=False)
    inputs = load_inputs(folder)
    check_proxy(folder, settings.proxy)
    formats: Counter[str] = Counter()
    attacks: Counter[str] = Counter()
    record_bytes = 0
    images = Reservoir(settings.seed)
    with StageProgress(console, "reading", None, "conversations") as progress:
        for entry in read_corpus(settings.corpus.files):
            formats[entry.format] += 1
            attacks[attack_on(vars(entry), settings) or "none"] += 1
            record_bytes += len(entry.record)
            for image in entry.images:
                if embedded_row(image, entry.source) is None:
                    images.offer(image)
            progress.advance()
    with ray_session():
        device, dtype = resolve_device(settings.proxy)
        workers = plan_workers(settings.runtime, settings.proxy.device, device)
    _print_counts(console, "format", formats)
    _print_counts(console, "attack", attacks)
    total = formats.total()
    chosen = budget_count(settings.mixture.budget, total)
    width = inputs.hidden_size * (2 if settings.proxy.vector == "attention" else 1)
    size = total * (ROW_BYTES + 2 * width) + record_bytes + record_bytes * chosen // max(total, 1)
    say(console, f"Shards: about {-(-total // settings.runtime.shard_size):,}")
    say(console, f"Images: {_missing(settings, images.sample):,} of a sample of {len(images.sample):,} are missing")
    say(console, f"Proxy actors: {workers}, {dtype} on {device}; one more CPU prepares their shards")
    say(console, f"To be written: about {decimal(size)} in {settings.output}")
    say(console, f"To be chosen: {chosen:,} of {total:,} conversations")


class Reservoir:
    """A seeded sample of a stream, each item in it with the same chance."""

    def __init__(self, seed: int):
        self.sample: list[str] = []
        self._random = random.Random(seed)
        self._seen = 0

    def offer(self, item: str) -> None:
        self._seen += 1
        if len(self.sample) < IMAGE_SAMPLE:
            self.sample.append(item)
        elif (place := self._random.randrange(self._seen)) < IMAGE_SAMPLE:
            self.sample[place] = item


def _missing(settings: Settings, images: list[str]) -> int:
    if settings.corpus.images is None:
        return len(images)
    folder = locate(settings.corpus.images)
    return sum(not has_image(name, folder, settings.corpus.links) for name in images)


def _print_counts(console: Console, title: str, counts: Mapping[str, int]) -> None:
    table = table_of(title, "conversations")
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(name, f"{count:,}")
    console.print(table)
