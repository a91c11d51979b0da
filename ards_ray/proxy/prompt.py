"""From a conversation's text to tokens and targets, as every family does it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ards_ray.corpus.conversation import IMAGE_TAG
from ards_ray.errors import ConversationError

Span = tuple[int, int]


class Prompt:
    """A prompt in the making: its text, where a picture stands as `<image>`, and the ranges of its answers."""

    def __init__(self, text: str = ""):
        self.text = text
        self.answers: list[Span] = []

    def add(self, text: str) -> None:
        self.text += text

    def add_answer(self, text: str) -> None:
        """Add text whose tokens are targets."""
        self.answers.append((len(self.text), len(self.text) + len(text)))
        self.text += text


def encode_prompt(
    tokenizer: Any, prompt: Prompt, start: Sequence[int], image: Sequence[int], reserved: int | None, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Token ids int32 and targets bool [positions], cut after `limit`.

    Args:
        tokenizer: A fast tokenizer.
        prompt: The prompt.
        start: The ids in front.
        image: The ids that stand for the picture.
        reserved: Ids from here on may not stand in the text.
        limit: Longest sequence.

    Raises:
        ConversationError: no target token is left, or the text holds a token that is reserved.
    """
    ids, targets = _encode(tokenizer, prompt, start, [image] * prompt.text.count(IMAGE_TAG), reserved)
    if not any(targets[:limit]):
        raise ConversationError("answer cut off", f"{len(ids)} positions, {limit} are kept")
    return np.array(ids[:limit], dtype=np.int32), np.array(targets[:limit], dtype=bool)


def encode_opening(
    tokenizer: Any, prompt: Prompt, start: Sequence[int], images: Sequence[Sequence[int]], reserved: int | None
) -> np.ndarray:
    """Token ids int32 [positions] up to where the first answer begins.

    Args:
        tokenizer: A fast tokenizer.
        prompt: The prompt; how the answer reads does not matter.
        start: The ids in front.
        images: For each picture the ids that stand for it.
        reserved: Ids from here on may not stand in the text.

    Raises:
        ConversationError: the text holds a token that is reserved.
    """
    opening = Prompt(prompt.text[: prompt.answers[0][0]])
    return np.array(_encode(tokenizer, opening, start, images, reserved)[0], dtype=np.int32)


def _encode(
    tokenizer: Any, prompt: Prompt, start: Sequence[int], images: Sequence[Sequence[int]], reserved: int | None
) -> tuple[list[int], list[bool]]:
    ids = list(start)
    targets = [False] * len(ids)
    place = 0
    for index, chunk in enumerate(prompt.text.split(IMAGE_TAG)):
        if index:
            ids += images[index - 1]
            targets += [False] * len(images[index - 1])
            place += len(IMAGE_TAG)
        encoding = tokenizer(chunk, add_special_tokens=False, return_offsets_mapping=True)
        if reserved is not None and max(encoding["input_ids"], default=0) >= reserved:
            raise ConversationError("reserved token in the text", "a marker such as <pad>")
        ids += encoding["input_ids"]
        targets += [
            any(first < place + right and place + left < last for first, last in prompt.answers)
            for left, right in encoding["offset_mapping"]
        ]
        place += len(chunk)
    return ids, targets
