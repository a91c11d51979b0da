"""What an engine must do: take questions as text and pictures, and say what the model answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import Round
from ards_ray.errors import ConversationError, SettingsError
from ards_ray.proxy.family import ProxyInputs
from ards_ray.proxy.sequence import Picture

EngineName = Literal["hf", "vllm"]
Score = Literal["generate", "letters"]

# Questions under way at a time: enough for full batches.
WIDTH = 128
# Enough for a sentence around the symbol. What is cut off was no answer that any matcher takes.
ANSWER_TOKENS = 64
# Longer prompts are not evaluated: they would take the memory of hundreds of others.
LONGEST_PROMPT = 16_384


@dataclass(frozen=True)
class EngineSettings:
    """The model and how it answers.

    Args:
        name: Which engine.
        proxy: Checkpoint, adapter, device and dtype, neither of which is `auto`.
        score: Generate the answer, or rank the symbols by likelihood.
        batch_positions: Positions that the transformers engine computes together.
        tensor_parallel: GPUs that share one model; vLLM alone.
        threads: Torch threads on a CPU.
    """

    name: EngineName
    proxy: ProxySettings
    score: Score
    batch_positions: int = 16_384
    tensor_parallel: int = 1
    threads: int = 1


@dataclass(frozen=True)
class Shown:
    """An image of a question.

    Attributes:
        key: Tells it from other images.
        picture: As the model's family takes it.
        image: As it was opened; None where the engine has no use for it.
    """

    key: str
    picture: Picture
    image: Image.Image | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        pixels = self.image.width * self.image.height if self.image else 0
        return self.picture.pixels.nbytes + 3 * pixels


@dataclass(frozen=True)
class Ask:
    """A request as an engine takes it.

    Attributes:
        prompt: What the user says, with an image tag for each image.
        images: The images.
        symbols: The options' symbols, to be ranked where the score is `letters`; none for a free answer.
    """

    prompt: str
    images: tuple[Shown, ...]
    symbols: tuple[str, ...]


class Engine(Protocol):
    """A loaded model. Greedy: the same request has the same answer, whatever is asked along with it.

    Attributes:
        inputs: The text and picture side of its family.
        takes_images: Whether it wants images as they were opened, too.
        width: Questions that should be under way at a time, so that what they share stays in its caches.
    """

    inputs: ProxyInputs
    takes_images: bool
    width: int

    def answer(self, asks: Sequence[Ask]) -> list[str | ConversationError]:
        """What the model answers to each; an error where a request cannot be put to it."""


def load_engine(settings: EngineSettings, folder: Path) -> Engine:
    """The engine with the model in `folder`.

    Raises:
        SettingsError: the model cannot be loaded, or vLLM is not installed.
    """
    # Imported late: the other engine's libraries may not be there.
    if settings.name == "vllm":
        from ards_ray.evaluation.vllm_engine import VllmEngine

        return VllmEngine(settings, folder)
    from ards_ray.evaluation.hf_engine import HfEngine

    return HfEngine(settings, folder)


@dataclass(frozen=True)
class Tokens:
    """What a family's answers are made of.

    Attributes:
        end: The id that ends an answer.
        limit: Positions of the longest prompt.
        first: For a symbol the first id of an answer that consists of it.
    """

    end: int
    limit: int
    first: Callable[[str], int]


def tokens_of(inputs: ProxyInputs) -> Tokens:
    """How answers of a model begin and end, told by its family's training form."""

    def answer(text: str) -> np.ndarray:
        ids, targets = inputs.encode([Round("", text)], None, LONGEST_PROMPT)
        return ids[targets]

    longest: int = inputs.config.text_config.max_position_embeddings
    return Tokens(
        end=int(answer("A")[-1]),
        limit=min(longest - ANSWER_TOKENS, LONGEST_PROMPT),
        first=lambda symbol: int(answer(symbol)[0]),
    )


def first_tokens(tokens: Tokens, symbols: Sequence[str]) -> list[int]:
    """The first id of each symbol as an answer.

    Raises:
        SettingsError: two symbols begin alike, so that the next token does not tell them apart.
    """
    ids = [tokens.first(symbol) for symbol in symbols]
    if len(set(ids)) < len(ids):
        raise SettingsError(
            f"score letters: this model's tokens do not tell {', '.join(symbols)} apart; name other symbols"
        )
    return ids


def decode_answer(inputs: ProxyInputs, ids: Sequence[int]) -> str:
    """The text of an answer's ids."""
    text: str = inputs.tokenizer.decode(list(ids), skip_special_tokens=True)
    return text.strip()


def encode_ask(inputs: ProxyInputs, tokens: Tokens, ask: Ask) -> np.ndarray:
    """Token ids int32 [positions] of a request, its images expanded.

    Raises:
        ConversationError: it is too long, or holds a token that is reserved.
    """
    ids = inputs.encode_question(ask.prompt, [shown.picture for shown in ask.images])
    if len(ids) > tokens.limit:
        raise ConversationError("prompt is too long", f"{len(ids)} positions, the model takes {tokens.limit}")
    return ids


def encode_all(inputs: ProxyInputs, tokens: Tokens, asks: Sequence[Ask]) -> list[np.ndarray | ConversationError]:
    """The token ids of requests, or why one cannot be put to the model."""
    encoded: list[np.ndarray | ConversationError] = []
    for ask in asks:
        try:
            encoded.append(encode_ask(inputs, tokens, ask))
        except ConversationError as error:
            encoded.append(error)
    return encoded
