"""What the proxy computes on: token sequences and pictures, and what comes out."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Picture:
    """A picture as the vision tower takes it, before normalisation.

    Attributes:
        pixels: uint8 [tiles, height, width, 3].
        size: Height and width of the image as it was opened.
    """

    pixels: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True)
class TokenSequence:
    """One version of a conversation, ready for the proxy.

    Attributes:
        ids: int32 [positions], the image expanded to its positions.
        targets: bool [positions], True where the token is one that the model is trained to say.
        image: Index of its picture among the shard's, or -1.
    """

    ids: np.ndarray
    targets: np.ndarray
    image: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class SequenceScore:
    """What the proxy says of a sequence.

    Attributes:
        loss: Mean cross-entropy over its target tokens.
        correct: Whether the arg-max at every target position is the target: greedy decoding repeats the answers.
        vector: float32 [2d] (or [d]) conversation vector, where it was asked for.
        error: Why it could not be computed, or None.
    """

    loss: float = float("nan")
    correct: bool = False
    vector: np.ndarray | None = None
    error: str | None = None
