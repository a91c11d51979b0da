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
from ards_ray.proxy.sequence import Picture, TokenSequence
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
    return PreparedShard(name, conversations, tuple(pictures.taken))


def _prepare(entry: dict, settings: Settings, inputs: ProxyInputs, pictures: "Pictures") -> PreparedConversation:
    try:
        conversation = parse_conversation(entry["row"], entry["format"], entry["image"], entry["record"])
        corruption = corrupt(conversation, settings.attacks, settings.seed)
        opened = pictures.get(conversation, noised=corruption is not None and corruption.attack == "noise")
        versions = [_encode(conversation.rounds, opened.clean, settings, inputs, pictures)]
        if corruption is not None and corruption.attack == "noise":
            versions.append(TokenSequence(versions[0].ids, versions[0].targets, opened.noised))
        elif corruption is not None:
            versions += [_encode(rounds, opened.clean, settings, inputs, pictures) for rounds in corruption.versions]
    except ConversationError as error:
        return PreparedConversation(entry["row"], entry["format"], None, str(error), ())
    attack = corruption.attack if corruption else None
    return PreparedConversation(entry["row"], entry["format"], attack, None, tuple(versions))


def _encode(
    rounds: Iterable[Round], image: int, settings: Settings, inputs: ProxyInputs, pictures: "Pictures"
) -> TokenSequence:
    picture = pictures.taken[image] if image >= 0 else None
    ids, targets = inputs.encode(tuple(rounds), picture, settings.limits.positions)
    return TokenSequence(ids, targets, image)


@dataclass
class Opened:
    """An image file of the shard, and where its pictures stand among the shard's, -1 for nowhere."""

    content: bytes
    clean: int = -1
    noised: int = -1


class Pictures:
    """The shard's pictures, each opened once: `taken`, as the proxy takes them."""

    def __init__(self, settings: Settings, inputs: ProxyInputs, entries: Iterable[dict]):
        self._settings = settings
        self._inputs = inputs
        self._folder = locate(settings.corpus.images) if settings.corpus.images else None
        self.taken: list[Picture] = []
        self._opened: dict[str, Opened | ConversationError] = {}
        self._embedded = _read_embedded(entries)

    def get(self, conversation: Conversation, noised: bool) -> Opened:
        """The picture of a conversation, which has none where it has no image.

        Raises:
            ConversationError: the picture cannot be used.
        """
        name = conversation.image
        if name is None:
            return Opened(b"")
        if name not in self._opened:
            try:
                self._opened[name] = self._open(name)
            except ConversationError as error:
                self._opened[name] = _named(name, error)
        opened = self._opened[name]
        if isinstance(opened, ConversationError):
            raise opened
        if noised and opened.noised < 0:
            # Opened again: opened pictures are too large to keep a shard's worth of them.
            image = decode_image(opened.content, self._settings.limits.pixels)
            attacks = self._settings.attacks
            pixels = add_noise(np.asarray(image), opened.content, attacks.noise_step, self._settings.seed)
            opened.noised = self._take(Image.fromarray(pixels))
        return opened

    def _open(self, name: str) -> Opened:
        pixels = self._settings.limits.pixels
        if name in self._embedded:
            content = self._embedded[name]
            image = decode_image(content, pixels)
        else:
            content, image = read_image(name, self._folder, pixels)
        return Opened(content, self._take(image))

    def _take(self, image: Image.Image) -> int:
        self.taken.append(self._inputs.picture(image))
        return len(self.taken) - 1


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
