"""From a prompt in pieces to token ids and targets, as every family does it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ards_ray.errors import ConversationError


@dataclass(frozen=True)
class Piece:
    """A piece of a prompt: text, or the place of a picture.

    Attributes:
        text: The text; None for a picture.
        target: Whether the model is trained to say it.
    """

    text: str | None
    target: bool = False


PICTURE = Piece(None)


class AddedTokens:
    """The tokens that a tokenizer finds in a text before it splits it: special tokens, and others that were added.

    Those of white space alone are left out: they are how some tokenizers write indented text, and mean nothing else.
    """

    def __init__(self, tokenizer: Any):
        found = {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}
        # The longest first, as one may begin like another.
        self._tokens = sorted((token for token in found if token.strip()), key=lambda token: (-len(token), token))
        self._pattern = re.compile("|".join(map(re.escape, self._tokens)) or r"(?!)")

    def __contains__(self, token: str) -> bool:
        return token in self._tokens

    def end_of_first(self, text: str) -> int | None:
        """Where the first such token in a text ends; None if there is none."""
        match = self._pattern.search(text)
        return match.end() if match else None

    def refuse(self, texts: Iterable[str | None]) -> None:
        """Refuse texts of a user that hold such a token: it would become the real one, and the text part of the form.

        Args:
            texts: The texts; None for a picture.

        Raises:
            ConversationError: names the token.
        """
        for text in texts:
            match = self._pattern.search(text or "")
            if match:
                raise ConversationError("special token in the text", match[0])


@dataclass(frozen=True)
class Tokenisation:
    """How a checkpoint's prompts become token ids.

    Attributes:
        tokenizer: A fast tokenizer.
        start: The ids in front of a prompt.
        image: The image token, which is written where a picture stands; None if the text on either side of a picture
            is tokenised by itself, as LLaVA's own code does (`tokenizer_image_token`).
    """

    tokenizer: Any
    start: Sequence[int]
    image: int | None

    def encode(self, pieces: Sequence[Piece], pictures: Iterable[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids int32 and targets bool [positions] of a prompt.

        Args:
            pieces: The prompt.
            pictures: For each picture the ids that stand for it.
        """
        sequence = [_silent(self.start)]
        waiting = map(_silent, pictures)
        for number, chunk in enumerate(self._chunks(pieces)):
            sequence += [next(waiting)] if number else []
            ids, targets = self._tokens(chunk)
            start = 0
            for place in np.flatnonzero(ids == self.image) if self.image is not None else ():
                sequence += [(ids[start:place], targets[start:place]), next(waiting)]
                start = int(place) + 1
            sequence.append((ids[start:], targets[start:]))
        return np.concatenate([ids for ids, _ in sequence]), np.concatenate([targets for _, targets in sequence])

    def _chunks(self, pieces: Sequence[Piece]) -> Iterator[list[tuple[str, bool]]]:
        """The texts that are tokenised together, and whether they are targets."""
        chunk: list[tuple[str, bool]] = []
        for piece in pieces:
            if piece.text is not None:
                chunk.append((piece.text, piece.target))
            elif self.image is not None:
                chunk.append((self.tokenizer.convert_ids_to_tokens(self.image), False))
            else:
                yield chunk
                chunk = []
        yield chunk

    def _tokens(self, chunk: Sequence[tuple[str, bool]]) -> tuple[np.ndarray, np.ndarray]:
        """Ids and targets of texts that are tokenised together: the tokens that a target's characters are in."""
        text = "".join(text for text, _ in chunk)
        ends = np.cumsum([len(text) for text, _ in chunk])
        spoken = np.flatnonzero([target for _, target in chunk])
        first, last = (ends - [len(text) for text, _ in chunk])[spoken], np.append(ends[spoken], len(text) + 1)
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        left, right = np.array(encoding["offset_mapping"], dtype=np.int64).reshape(-1, 2).T
        # The first target that ends behind where a token begins; behind the last one nothing is a target.
        next_target = np.searchsorted(last, left, side="right")
        targets = np.append(first, len(text) + 1)[next_target] < right
        return np.array(encoding["input_ids"], dtype=np.int32), targets


def _silent(ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Ids that are no targets."""
    return np.array(ids, dtype=np.int32), np.zeros(len(ids), dtype=bool)


def cut(ids: np.ndarray, targets: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """A sequence cut after `limit` positions.

    Raises:
        ConversationError: no target token is left.
    """
    if not targets[:limit].any():
        raise ConversationError("answer cut off", f"{len(ids)} positions, {limit} are kept")
    return ids[:limit], targets[:limit]
