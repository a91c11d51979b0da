"""Signals, first step: a shard's conversations made ready for the proxy, on a CPU."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ards_ray.config import Settings
from ards_ray.corpus.conversation import Conversation, Round
from ards_ray.corpus.images import decode_image, read_image
from ards_ray.corpus.readers import embedded_row
from ards_ray.corpus.sources.registry import open_source
from ards_ray.corpus.table import CONVERSATIONS, conversation_of
from ards_ray.corruption.attack import Corruption, corrupt
from ards_ray.corruption.noise import add_noise
from ards_ray.errors import ArdsError, ConversationError
from ards_ray.models.family import ProxyInputs
from ards_ray.models.sequence import Picture, TokenSequence
from ards_ray.run.directory import RunDirectory
from ards_ray.run.workers import Wanted
from ards_ray.signals.prepared import PreparedConversation, PreparedShard
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.reuse import content_of
from ards_ray.signals.work import SignalWork
from ards_ray.storage.location import locate

# So many conversations that all fail in an unexpected way mean that something else is wrong than the conversations.
SYSTEMATIC = 16


def prepare_shard(work: SignalWork, name: str, wanted: Wanted, inputs: ProxyInputs) -> PreparedShard:
    """Read a part of the conversations and make it ready.

    Args:
        work: What is computed; the rows of the shard that another run has computed are taken over.
        name: Name of the part.
        wanted: The rows of each signal to compute, None for all.
        inputs: The proxy's text and picture side.
    """
    asked = {signal: None if rows is None else set(rows) for signal, rows in wanted.items()}
    table = CONVERSATIONS.read(RunDirectory(work.output), name)
    entries = [(entry, _signals_of(entry["row"], asked)) for entry in table.to_pylist()]
    entries = [(entry, signals) for entry, signals in entries if signals]
    pictures = Pictures(work.settings, inputs, [entry for entry, _ in entries])
    conversations = []
    known: dict[str, dict[int, int]] = {}
    unexpected = 0
    for entry, signals in entries:
        try:
            conversation = conversation_of(entry)
            content = content_of(conversation, [pictures.digest(name) for name in conversation.images])
            found = {} if work.earlier is None else work.earlier.find(content)
            for signal in signals:
                if signal in found:
                    known.setdefault(signal, {})[conversation.row] = found[signal]
            signals = tuple(signal for signal in signals if signal not in found)
            if signals:
                conversations += _prepare(conversation, content, signals, work.settings, inputs, pictures)
        except ConversationError as error:
            conversations.append(PreparedConversation(entry["row"], signals, error=str(error)))
        except (ArdsError, OSError, MemoryError):
            raise
        except Exception as error:
            # A library stumbled over it.
            unexpected += 1
            if unexpected == len(entries) >= SYSTEMATIC:
                raise
            text = f"preparing failed: {type(error).__name__}: {error}"
            conversations.append(PreparedConversation(entry["row"], signals, error=text))
    earlier = work.earlier
    reused = (
        {}
        if earlier is None
        else {signal: earlier.take(signal, list(rows.values()), list(rows)) for signal, rows in known.items()}
    )
    return PreparedShard(name, tuple(asked), tuple(conversations), tuple(pictures.taken), reused)


def _signals_of(row: int, asked: Mapping[str, Collection[int] | None]) -> tuple[str, ...]:
    """The signals that are asked of a row."""
    return tuple(signal for signal, rows in asked.items() if rows is None or row in rows)


def _prepare(
    conversation: Conversation,
    content: bytes,
    signals: tuple[str, ...],
    settings: Settings,
    inputs: ProxyInputs,
    pictures: "Pictures",
) -> list[PreparedConversation]:
    """The conversation; where its corrupted versions alone cannot be scored, what they are for stands apart."""
    row = conversation.row
    of_corrupted = tuple(name for name in signals if SIGNALS[name].versions == "corrupted")
    of_clean = tuple(name for name in signals if name not in of_corrupted)
    corruption = corrupt(conversation, settings.attacks, settings.seed) if of_corrupted else None
    clean = None
    if of_clean:
        image = pictures.clean(conversation.images[0] if conversation.images else None)
        clean = _encode(conversation.rounds, image, settings, inputs, pictures)
    if corruption is None:
        return [PreparedConversation(row, signals, None, None, clean, (), content)]
    try:
        corrupted = _corrupted(conversation, corruption, clean, settings, inputs, pictures)
    except ConversationError as error:
        failed = PreparedConversation(row, of_corrupted, error=str(error))
        return [PreparedConversation(row, of_clean, None, None, clean, (), content), failed] if of_clean else [failed]
    return [PreparedConversation(row, signals, corruption.attack, None, clean, corrupted, content)]


def _corrupted(
    conversation: Conversation,
    corruption: Corruption,
    clean: TokenSequence | None,
    settings: Settings,
    inputs: ProxyInputs,
    pictures: "Pictures",
) -> tuple[TokenSequence, ...]:
    shown = conversation.images[0] if conversation.images else None
    if corruption.attack == "noise":
        noise = pictures.noised(shown)
        unnoised = clean or _encode(conversation.rounds, noise, settings, inputs, pictures)
        return (TokenSequence(unnoised.ids, unnoised.targets, noise),)
    image = pictures.clean(shown)
    return tuple(_encode(rounds, image, settings, inputs, pictures) for rounds in corruption.versions)


def _encode(
    rounds: Iterable[Round], image: int, settings: Settings, inputs: ProxyInputs, pictures: "Pictures"
) -> TokenSequence:
    picture = pictures.taken[image] if image >= 0 else None
    ids, targets = inputs.encode(tuple(rounds), picture, settings.limits.positions)
    return TokenSequence(ids, targets, image)


@dataclass
class ImageFile:
    """An image file of the shard, and where its pictures stand among the shard's, None where they are not taken yet."""

    content: bytes
    digest: bytes
    clean: int | ConversationError | None = None
    noised: int | None = None


class Pictures:
    """The shard's pictures, each file read once and each picture made once: `taken`, as the proxy takes them.

    Its methods raise ConversationError where the file cannot be used.
    """

    def __init__(self, settings: Settings, inputs: ProxyInputs, entries: Iterable[dict]):
        self._settings = settings
        self._inputs = inputs
        self._folder = locate(settings.corpus.images) if settings.corpus.images else None
        self.taken: list[Picture] = []
        self._files: dict[str, ImageFile | ConversationError] = {}
        self._embedded = _read_embedded(entries)

    def digest(self, name: str) -> bytes:
        """Digest of an image file's bytes."""
        return self._file(name).digest

    def clean(self, name: str | None) -> int:
        """Where the picture of an image file stands, -1 for no image."""
        if name is None:
            return -1
        file = self._file(name)
        if file.clean is None:
            try:
                file.clean = self._take(decode_image(file.content, self._settings.limits.pixels, self._inputs.upright))
            except ConversationError as error:
                file.clean = _named(name, error)
        if isinstance(file.clean, ConversationError):
            raise file.clean
        return file.clean

    def noised(self, name: str | None) -> int:
        """Where the noised picture of an image file stands, -1 for no image."""
        if name is None:
            return -1
        file = self._file(name)
        if file.noised is None:
            # Decoded again: decoded pictures are too large to keep a shard's worth of them.
            image = decode_image(file.content, self._settings.limits.pixels, self._inputs.upright)
            attacks = self._settings.attacks
            pixels = add_noise(np.asarray(image), file.content, attacks.noise_step, self._settings.seed)
            file.noised = self._take(Image.fromarray(pixels))
        return file.noised

    def _file(self, name: str) -> ImageFile:
        if name not in self._files:
            try:
                if name in self._embedded:
                    content = self._embedded[name]
                else:
                    content = read_image(name, self._folder, self._settings.corpus.links)
                if content is None:
                    raise ConversationError("image not found", f"{name} (its row embeds none any more)")
                self._files[name] = ImageFile(content, hashlib.sha256(content).digest())
            except ConversationError as error:
                self._files[name] = _named(name, error)
        file = self._files[name]
        if isinstance(file, ConversationError):
            raise file
        return file

    def _take(self, image: Image.Image) -> int:
        self.taken.append(self._inputs.picture(image))
        return len(self.taken) - 1


def _named(name: str, error: ConversationError) -> ConversationError:
    """The error with the picture's name in it."""
    reason, _, detail = str(error).partition(": ")
    if name in detail:
        return error
    return ConversationError(reason, f"{name} ({detail})" if detail else name)


def _read_embedded(entries: Iterable[dict]) -> dict[str, bytes | None]:
    """The embedded images among the entries, None for those that are not there; each file is opened once."""
    rows: dict[str, list[int]] = {}
    for entry in entries:
        for image in entry["images"]:
            row = embedded_row(image, entry["source"])
            if row is not None:
                rows.setdefault(entry["source"], []).append(row)
    images: dict[str, bytes | None] = {}
    for file, wanted in rows.items():
        found = open_source(file).images(wanted)
        images |= {f"{file}#{row}": found.get(row) for row in wanted}
    return images
