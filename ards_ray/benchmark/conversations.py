"""Token sequences of LLaVA-665K's shape: its lengths, its pictures for each conversation, its share of each attack."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ards_ray.arrays.seeds import generator
from ards_ray.models.sequence import Picture, TokenSequence

SEED = 42
CORPUS_CONVERSATIONS = 665_298
CONVERSATIONS_PER_IMAGE = 1.65
WITH_IMAGE = 624_610 / CORPUS_CONVERSATIONS
CHOICE = 0.10
SYSTEM_TOKENS = 35
# Tokens behind system sentence and picture, and of a conversation without a picture: mean and shape of a gamma.
OWN_TOKENS = (190, 1.5)
TEXT_TOKENS = (420, 1.5)
SHORTEST, LONGEST = 24, 1300
ANSWERED = 0.45
# Of a multiple-choice question: the part before its options, and the letter and end token that are its answer.
STEM = 0.4
CHOICE_ANSWER = 2
FIRST_WORD = 5


@dataclass(frozen=True)
class SyntheticConversation:
    """A conversation as the proxy sees it: its clean sequence, and the corrupted one if there is any."""

    clean: TokenSequence
    corrupted: TokenSequence | None


def synthetic_conversations(
    count: int, vocabulary: int, image_token: int, image_positions: int
) -> Iterator[SyntheticConversation]:
    """Conversations about pictures numbered from 0: each picture stands at an even number, its noised form behind it.

    Args:
        count: How many.
        vocabulary: Words are drawn below this id.
        image_token: The id of a picture's positions.
        image_positions: How many positions a picture takes.
    """
    random = generator(SEED, "conversations", b"")
    system = random.integers(FIRST_WORD, vocabulary, SYSTEM_TOKENS)
    shown = np.full(image_positions, image_token)
    with_image, choice = round(count * WITH_IMAGE), round(count * CHOICE)
    images = max(1, round(with_image / CONVERSATIONS_PER_IMAGE))
    for number in random.permutation(count).tolist():
        if number >= with_image:
            own = random.integers(FIRST_WORD, vocabulary, _length(random, TEXT_TOKENS))
            yield SyntheticConversation(_sequence([system, own], round(len(own) * ANSWERED), -1), None)
            continue
        image = 2 * (number % images)
        own = random.integers(FIRST_WORD, vocabulary, _length(random, OWN_TOKENS))
        if number < choice:
            changed = own.copy()
            changed[int(len(own) * STEM) :] = random.integers(FIRST_WORD, vocabulary, len(own) - int(len(own) * STEM))
            sequences = [_sequence([system, shown, text], CHOICE_ANSWER, image) for text in (own, changed)]
        else:
            answered = round(len(own) * ANSWERED)
            sequences = [_sequence([system, shown, own], answered, picture) for picture in (image, image + 1)]
        yield SyntheticConversation(*sequences)


def synthetic_pictures(conversations: list[SyntheticConversation], side: int) -> list[Picture]:
    """Pictures of random pixels, as many as the conversations number."""
    random = generator(SEED, "pictures", b"")
    numbers = [item.image for pair in conversations for item in (pair.clean, pair.corrupted) if item is not None]
    pixels = random.integers(0, 256, (max(numbers, default=-1) + 1, 1, side, side, 3), dtype=np.uint8)
    return [Picture(item, (side, side)) for item in pixels]


def _length(random: np.random.Generator, mean_and_shape: tuple[float, float]) -> int:
    mean, shape = mean_and_shape
    return int(np.clip(random.gamma(shape, mean / shape), SHORTEST, LONGEST))


def _sequence(pieces: list[np.ndarray], answered: int, image: int) -> TokenSequence:
    ids = np.concatenate(pieces).astype(np.int32)
    return TokenSequence(ids, np.arange(len(ids)) >= len(ids) - answered, image)
