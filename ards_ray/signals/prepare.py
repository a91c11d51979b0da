"""Signals, first half: a shard's conversations made ready for the proxy, on a CPU."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ards_ray.config import Settings
from ards_ray.corpus.conversation import Conversation, Round
from ards_ray.corpus.images import decode_image, read_image
from ards_ray.corpus.readers import embedded_row
from ards_ray.corpus.sources.registry import open_source
from ards_ray.corruption.attack import corrupt
from ards_ray.corruption.noise import add_noise
from ards_ray.errors import ArdsError, ConversationError
from ards_ray.models.family import ProxyInputs
from ards_ray.models.sequence import Picture, TokenSequence
from ards_ray.run.directory import RunDirectory
from ards_ray.signals.conversations import conversation_of
from ards_ray.signals.prepared import PreparedConversation, PreparedShard
from ards_ray.signals.reuse import Earlier, content_of
from ards_ray.storage.location import locate

# So many conversations that all fail in an unexpected way mean that something else is wrong than the conversations.
SYSTEMATIC = 16


def prepare_shard(
    run: RunDirectory,
    name: str,
    settings: Settings,
    inputs: ProxyInputs,
    only: Collection[int] | None = None,
    earlier: Earlier | None = None,
) -> PreparedShard:
    """Read a part of the conversations and make it ready.

    Args:
        run: The run.
        name: Name of the part.
        settings: The run's settings.
        inputs: The proxy's text and picture side.
        only: Rows to prepare, all if not given.
        earlier: Rows that another run has scored; those of the shard among them are taken over.
    """
    table = run.read_table(f"conversations/{name}.parquet")
    entries = [entry for entry in table.to_pylist() if only is None or entry["row"] in only]
    pictures = Pictures(settings, inputs, entries)
    conversations = []
    known: dict[int, int] = {}
    unexpected = 0
    for entry in entries:
        try:
            conversation = conversation_of(entry["row"], entry["format"], entry["images"], entry["record"])
            content = content_of(conversation, [pictures.digest(name) for name in conversation.images])
            found = None if earlier is None else earlier.find(content)
            if found is None:
                conversations.append(_prepare(conversation, content, settings, inputs, pictures))
            else:
                known[conversation.row] = found
        except ConversationError as error:
            conversations.append(PreparedConversation(entry["row"], None, str(error), (), None))
        except (ArdsError, OSError, MemoryError):
            raise
        except Exception as error:
            # A library stumbled over it.
            unexpected += 1
            if unexpected == len(entries) >= SYSTEMATIC:
                raise
            text = f"preparing failed: {type(error).__name__}: {error}"
            conversations.append(PreparedConversation(entry["row"], None, text, (), None))
    taken = earlier.take(list(known.values()), list(known)) if earlier is not None and known else None
    return PreparedShard(name, tuple(conversations), tuple(pictures.taken), taken)


def _prepare(
    conversation: Conversation, content: bytes, settings: Settings, inputs: ProxyInputs, pictures: "Pictures"
) -> PreparedConversation:
    corruption = corrupt(conversation, settings.attacks, settings.seed)
    shown = conversation.images[0] if conversation.images else None
    image = pictures.clean(shown)
    versions = [_encode(conversation.rounds, image, settings, inputs, pictures)]
    if corruption is not None and corruption.attack == "noise":
        versions.append(TokenSequence(versions[0].ids, versions[0].targets, pictures.noised(shown)))
    elif corruption is not None:
        versions += [_encode(rounds, image, settings, inputs, pictures) for rounds in corruption.versions]
    attack = corruption.attack if corruption else None
    return PreparedConversation(conversation.row, attack, None, tuple(versions), content)


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
