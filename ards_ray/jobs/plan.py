"""What a selection would do, without doing it."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.filesize import decimal

from ards_ray.config import Settings
from ards_ray.console import say, table_of
from ards_ray.corpus.images import has_image
from ards_ray.corpus.readers import embedded_row, read_corpus
from ards_ray.corruption.attack import attack_on
from ards_ray.jobs.resolve import with_absolute_paths
from ards_ray.methods.method import Counts
from ards_ray.methods.registry import methods_of
from ards_ray.mixture.budget import budget_count
from ards_ray.models.checkpoint import checkpoint_folder
from ards_ray.models.family import load_inputs
from ards_ray.models.loading import check_proxy
from ards_ray.run.progress import StageProgress
from ards_ray.signals.registry import SIGNALS
from ards_ray.storage.location import locate
from ards_ray.validation import check_settings

IMAGE_SAMPLE = 1000
# Numbers and short texts of a row in all tables together, beside its record and its vector.
ROW_BYTES = 150


@dataclass(frozen=True)
class Plan:
    """What a selection would do.

    Attributes:
        formats: Conversations of each format.
        attacks: Conversations by the attack on them, `none` for those that cannot be corrupted.
        signals: For each signal, of how many conversations at most it is computed.
        methods: For each method its signals.
        shards: Shards, about.
        sampled_images: Image files that were looked for.
        missing_images: Those of them that are not there.
        workers: Where the model would run, in words; empty where none is asked.
        bytes: About how much would be written.
        chosen: Conversations of a mixture, as the budget asks.
    """

    formats: Mapping[str, int]
    attacks: Mapping[str, int]
    signals: Mapping[str, int]
    methods: Mapping[str, Sequence[str]]
    shards: int
    sampled_images: int
    missing_images: int
    workers: str
    bytes: int
    chosen: int


def plan(settings: Settings, console: Console | None = None) -> Plan:
    """Read the corpus and tell what a selection would do: nothing is scored and nothing is written.

    Args:
        settings: The settings, as of `select`.
        console: Where progress goes; nowhere if not given.

    Raises:
        SettingsError: a setting or an input file is wrong.
    """
    console = console or Console(quiet=True)
    check_settings(settings)
    methods = methods_of(settings)
    settings = with_absolute_paths(settings, methods)
    asks = any(method.signals(settings) for method in methods)
    width = _vector_width(settings) if asks else 0
    counts: Counter[tuple[str, str]] = Counter()
    record_bytes = 0
    images = Reservoir(settings.seed)
    with StageProgress(console, "reading", None, "conversations") as progress:
        for entry in read_corpus(settings.corpus.files):
            counts[entry.format, attack_on(vars(entry), settings) or "none"] += 1
            record_bytes += len(entry.record)
            for image in entry.images:
                if embedded_row(image, entry.source) is None:
                    images.offer(image)
            progress.advance()
    formats: Counter[str] = Counter()
    attacks: Counter[str] = Counter()
    corruptible: Counter[str] = Counter()
    for (format, attack), count in counts.items():
        formats[format] += count
        attacks[attack] += count
        corruptible[format] += count if attack != "none" else 0
    signals: dict[str, int] = {}
    for method in methods:
        for name, count in method.reads(settings, Counts(formats, corruptible)).items():
            signals[name] = max(count, signals.get(name, 0))
    total = formats.total()
    chosen = budget_count(settings.mixture.budget, total)
    has_vectors = any(SIGNALS[name].has_vectors for name in signals)
    of_mixtures = len(methods) * record_bytes * chosen // max(total, 1)
    return Plan(
        formats=formats,
        attacks=attacks,
        signals={name: signals[name] for name in SIGNALS if name in signals},
        methods={method.name: [*method.reads(settings, Counts(formats, corruptible))] for method in methods},
        shards=-(-total // settings.runtime.shard_size),
        sampled_images=len(images.sample),
        missing_images=_missing(settings, images.sample),
        workers=_workers(settings) if asks else "",
        bytes=total * (ROW_BYTES + (2 * width if has_vectors else 0)) + record_bytes + of_mixtures,
        chosen=chosen,
    )


def print_plan(found: Plan, output: str, console: Console) -> None:
    """Print a plan.

    Args:
        found: The plan.
        output: The run directory.
        console: Where it goes.
    """
    _print_counts(console, "format", found.formats)
    _print_counts(console, "attack", found.attacks)
    total = sum(found.formats.values())
    table = table_of("signal", "conversations, at most")
    for name, count in found.signals.items():
        table.add_row(name, f"{count:,}")
    if found.signals:
        console.print(table)
    for name, signals in found.methods.items():
        say(console, f"Method {name}: {', '.join(signals) or 'no signals, so that no model is asked'}")
    corruptible = total - found.attacks.get("none", 0)
    if found.signals.get("corrupted", corruptible) < corruptible:
        saved = corruptible - found.signals["corrupted"]
        say(console, f"subgroups.candidates saves the corrupted losses of {saved:,} conversations or more.")
    say(console, f"Shards: about {found.shards:,}")
    say(console, f"Images: {found.missing_images:,} of a sample of {found.sampled_images:,} are missing")
    if found.workers:
        say(console, found.workers)
    say(console, f"To be written: about {decimal(found.bytes)} in {output}")
    say(console, f"To be chosen: {found.chosen:,} of {total:,} conversations")


def _vector_width(settings: Settings) -> int:
    """Numbers in a conversation vector of the proxy, which can be loaded."""
    folder = checkpoint_folder(str(settings.proxy.model), weights=False)
    inputs = load_inputs(folder)
    check_proxy(folder, settings.proxy)
    return inputs.hidden_size * (2 if settings.proxy.vector == "attention" else 1)


def _workers(settings: Settings) -> str:
    # Imported late: methods that ask no model need no Ray.
    from ards_ray.cluster.resources import plan_workers, resolve_device
    from ards_ray.cluster.session import ray_session

    with ray_session():
        device, dtype = resolve_device(settings.proxy)
        workers = plan_workers(settings.runtime, settings.proxy.device, device)
    return f"Proxy actors: {workers}, {dtype} on {device}; one more CPU prepares their shards"


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
