"""What an engine must do: take questions as text and pictures, and say what the model answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import Round
from ards_ray.errors import ConversationError, SettingsError
from ards_ray.evaluation.answers import CUT
from ards_ray.models.family import ProxyInputs
from ards_ray.models.sequence import Picture

EngineName = Literal["hf", "vllm"]
Score = Literal["generate", "letters"]

# Questions under way at a time: enough for full batches.
WIDTH = 128
# Longer prompts are not evaluated: they would take the memory of hundreds of others.
LONGEST_PROMPT = 16_384


@dataclass(frozen=True)
class EngineSettings:
    """The model and how it answers.

    Args:
        name: Which engine.
        proxy: Checkpoint, adapter, device and dtype, neither of which is `auto`.
        score: Generate the answer, or rank the symbols by likelihood.
        answer_tokens: Tokens of the longest answer.
        batch_positions: Positions that the transformers engine computes together.
        tensor_parallel: GPUs that share one model; vLLM alone.
        threads: Torch threads on a CPU.
    """

    name: EngineName
    proxy: ProxySettings
    score: Score
    answer_tokens: int = 64
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
    """What bounds a model's prompts and answers.

    Attributes:
        ends: The ids that end an answer.
        limit: Positions of the longest prompt.
        answer: Tokens of the longest answer.
    """

    ends: frozenset[int]
    limit: int
    answer: int


def tokens_of(inputs: ProxyInputs, folder: Path, answer_tokens: int) -> Tokens:
    """The bounds of the checkpoint in `folder`.

    An answer ends as its family's training form ends it, or as the checkpoint's configuration of generation says.

    Raises:
        SettingsError: that configuration is broken, or the model takes nothing beside so long an answer.
    """
    longest: int = inputs.config.text_config.max_position_embeddings
    if longest <= answer_tokens:
        raise SettingsError(
            f"--answer-tokens: must be less than the {longest:,} positions that the model takes, got {answer_tokens}"
        )
    return Tokens(
        ends=frozenset({int(_answer_ids(inputs, "A")[-1]), *_stated_ends(folder)}),
        limit=min(longest - answer_tokens, LONGEST_PROMPT),
        answer=answer_tokens,
    )


def _answer_ids(inputs: ProxyInputs, text: str) -> np.ndarray:
    """The ids of an answer with the one that ends it, in the family's training form."""
    ids, targets = inputs.encode([Round("?", text)], None, LONGEST_PROMPT)
    return ids[targets]


def _stated_ends(folder: Path) -> Sequence[int]:
    file = folder / "generation_config.json"
    if not file.is_file():
        return ()
    # Imported late: it takes a second that wrong options, and `--answers`, need not wait.
    from transformers import GenerationConfig

    try:
        ends = GenerationConfig.from_pretrained(folder).eos_token_id
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{file}: cannot be read ({error})") from error
    return [ends] if isinstance(ends, int) else ends or ()


def first_tokens(inputs: ProxyInputs, symbols: Sequence[str]) -> list[int]:
    """The first id of each symbol as an answer.

    Raises:
        SettingsError: two symbols begin alike, so that the next token does not tell them apart.
    """
    ids = [int(_answer_ids(inputs, symbol)[0]) for symbol in symbols]
    if len(set(ids)) < len(ids):
        raise SettingsError(
            f"score letters: this model's tokens do not tell {', '.join(symbols)} apart; name other symbols"
        )
    return ids


def decode_answer(inputs: ProxyInputs, tokens: Tokens, ids: Sequence[int]) -> str:
    """The text of an answer's ids, up to the first that ends it; `CUT` behind it where there is none."""
    end = next((place for place, id in enumerate(ids) if id in tokens.ends), None)
    text: str = inputs.tokenizer.decode(list(ids[:end]), skip_special_tokens=True)
    return text.strip() if end is not None else f"{text.strip()}{CUT}"


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
