"""Signals, first half: a shard's conversations made ready for the proxy, on a CPU."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ards_ray.config import Settings
from ards_ray.corpus.conversation import Conversation, Round, parse_conversation
from ards_ray.corpus.images import decode_image, read_embedded, read_image
from ards_ray.corpus.readers import embedded_row
from ards_ray.corruption.attack import corrupt
from ards_ray.corruption.noise import add_noise
from ards_ray.errors import ConversationError
from ards_ray.proxy.family import ProxyInputs
from ards_ray.proxy.sequence import TokenSequence
from ards_ray.run.directory import RunDirectory
from ards_ray.stages.prepared import PreparedConversation, PreparedShard
from ards_ray.storage import locate


def prepare_shard(
    run: RunDirectory,
    name: str,
    settings: Settings,
    inputs: ProxyInputs,
    only: Collection[int] | None = None,
) -> PreparedShard:
    """Read a part of the conversations and make it ready.

    Args:
        run: The run.
        name: Name of the part.
        settings: The run's settings.
        inputs: The proxy's text and picture side.
        only: Rows to prepare, all if not given.
    """
    table = run.read_table(f"conversations/{name}.parquet")
    entries = [entry for entry in table.to_pylist() if only is None or entry["row"] in only]
    pictures = Pictures(settings, inputs, entries)
    conversations = tuple(_prepare(entry, settings, inputs, pictures) for entry in entries)
    return PreparedShard(name, conversations, pictures.pixels())


def _prepare(entry: dict, settings: Settings, inputs: ProxyInputs, pictures: "Pictures") -> PreparedConversation:
    try:
        conversation = parse_conversation(entry["row"], entry["format"], entry["image"], entry["record"])
        corruption = corrupt(conversation, settings.attacks, settings.seed)
        picture = pictures.get(conversation, noised=corruption is not None and corruption.attack == "noise")
        versions = [_encode(conversation.rounds, picture.clean, settings, inputs)]
        if corruption is not None and corruption.attack == "noise":
            versions.append(TokenSequence(versions[0].ids, versions[0].targets, picture.noised))
        elif corruption is not None:
            versions += [_encode(rounds, picture.clean, settings, inputs) for rounds in corruption.versions]
    except ConversationError as error:
        return PreparedConversation(entry["row"], entry["format"], None, str(error), ())
    attack = corruption.attack if corruption else None
    return PreparedConversation(entry["row"], entry["format"], attack, None, tuple(versions))


def _encode(rounds: Iterable[Round], image: int, settings: Settings, inputs: ProxyInputs) -> TokenSequence:
    ids, targets = inputs.encode(tuple(rounds), settings.limits.positions)
    return TokenSequence(ids, targets, image)


@dataclass
class Picture:
    """A picture of the shard, and where its pixels are, -1 for nowhere."""

    content: bytes
    clean: int = -1
    noised: int = -1


class Pictures:
    """The shard's pictures, each opened once."""

    def __init__(self, settings: Settings, inputs: ProxyInputs, entries: Iterable[dict]):
        self._settings = settings
        self._inputs = inputs
        self._folder = locate(settings.corpus.images) if settings.corpus.images else None
        self._pixels: list[np.ndarray] = []
        self._pictures: dict[str, Picture | ConversationError] = {}
        self._embedded = _read_embedded(entries)

    def get(self, conversation: Conversation, noised: bool) -> Picture:
        """The picture of a conversation, which has none where it has no image.

        Raises:
            ConversationError: the picture cannot be used.
        """
        name = conversation.image
        if name is None:
            return Picture(b"")
        if name not in self._pictures:
            try:
                self._pictures[name] = self._open(name)
            except ConversationError as error:
                self._pictures[name] = _named(name, error)
        picture = self._pictures[name]
        if isinstance(picture, ConversationError):
            raise picture
        if noised and picture.noised < 0:
            # Opened again: opened pictures are too large to keep a shard's worth of them.
            image = decode_image(picture.content, self._settings.limits.pixels)
            attacks = self._settings.attacks
            pixels = add_noise(np.asarray(image), picture.content, attacks.noise_step, self._settings.seed)
            picture.noised = self._add(Image.fromarray(pixels))
        return picture

    def pixels(self) -> np.ndarray:
        """uint8 [images, height, width, 3]."""
        return np.stack(self._pixels) if self._pixels else np.empty((0, 1, 1, 3), dtype=np.uint8)

    def _open(self, name: str) -> Picture:
        pixels = self._settings.limits.pixels
        if name in self._embedded:
            content = self._embedded[name]
            image = decode_image(content, pixels)
        else:
            content, image = read_image(name, self._folder, pixels)
        return Picture(content, self._add(image))

    def _add(self, image: Image.Image) -> int:
        self._pixels.append(self._inputs.pixels(image))
        return len(self._pixels) - 1


def _named(name: str, error: ConversationError) -> ConversationError:
    """The error with the picture's name in it."""
    reason, _, detail = str(error).partition(": ")
    if name in detail:
        return error
    return ConversationError(reason, f"{name} ({detail})" if detail else name)


def _read_embedded(entries: Iterable[dict]) -> dict[str, bytes]:
    """The embedded images among the entries, each file opened once."""
    rows: dict[str, list[int]] = {}
    for entry in entries:
        row = embedded_row(entry["image"], entry["source"])
        if row is not None:
            rows.setdefault(entry["source"], []).append(row)
    return {
        f"{file}#{row}": content
        for file, wanted in rows.items()
        for row, content in read_embedded(file, wanted).items()
    }
