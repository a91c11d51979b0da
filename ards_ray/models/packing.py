"""Token sequences packed together: what several have in common from the beginning on is there, and computed, once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ards_ray.models.sequence import TokenSequence


@dataclass(frozen=True)
class Pack:
    """Sequences laid one after another on common positions, each without what an earlier one has already.

    Attributes:
        indices: The packed sequences, as indices among all.
        places: For each of them int64 [length], where its tokens stand in the pack. Its own are the last ones.
        owned: For each of them how many tokens it added.
        ids: int64 [positions].
        images: int64 [positions], the picture that a position shows, or -1.
        offsets: int64 [positions], which of its picture's positions that is.
    """

    indices: list[int]
    places: list[np.ndarray]
    owned: list[int]
    ids: np.ndarray
    images: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class Packer:
    """Orders the sequences of a shard so that those with a common beginning are neighbours, and packs them.

    A causal model's states of a beginning do not depend on what follows, so that the sequences of one picture share
    all positions up to the first difference between their texts, and all sequences share the system sentence.
    """

    def __init__(self, sequences: Sequence[TokenSequence], image_token: int):
        self._sequences = sequences
        self._image_token = image_token
        # Other pictures look alike as tokens: theirs count as their number, below every token's.
        self._keys = [
            np.where(sequence.ids == image_token, -1 - sequence.image, sequence.ids).astype(np.int32)
            for sequence in sequences
        ]
        self.order = sorted(range(len(sequences)), key=lambda index: (self._keys[index].tobytes(), index))

    def batches(self, order: Sequence[int], budget: int) -> Iterator[list[int]]:
        """Cut sequences, in the packer's order, into batches of at most `budget` packed positions.

        A picture's sequences stay together unless they alone are more; one sequence may be more than the budget.
        """
        batch: list[int] = []
        size = 0
        for group in self._groups(order):
            whole = self._added([*batch[-1:], *group]) - (len(self._keys[batch[-1]]) if batch else 0)
            if batch and size + whole > budget:
                yield batch
                batch, size = [], 0
            for index in group:
                added = len(self._keys[index]) - (self._shared(batch[-1], index) if batch else 0)
                if batch and size + added > budget:
                    yield batch
                    batch, size, added = [], 0, len(self._keys[index])
                batch.append(index)
                size += added
        if batch:
            yield batch

    def pack(self, batch: Sequence[int]) -> Pack:
        """Pack sequences that are in the packer's order."""
        places: list[np.ndarray] = []
        owned: list[int] = []
        ids: list[np.ndarray] = []
        images: list[np.ndarray] = []
        offsets: list[np.ndarray] = []
        size = 0
        for number, index in enumerate(batch):
            sequence = self._sequences[index]
            shared = self._shared(batch[number - 1], index) if number else 0
            added = len(sequence) - shared
            before = places[-1][:shared] if number else np.empty(0, dtype=np.int64)
            places.append(np.concatenate([before, np.arange(size, size + added)]))
            owned.append(added)
            shown = sequence.ids == self._image_token
            ids.append(sequence.ids[shared:].astype(np.int64))
            images.append(np.where(shown, sequence.image, -1)[shared:])
            offsets.append((np.cumsum(shown) - 1)[shared:])
            size += added
        return Pack(list(batch), places, owned, np.concatenate(ids), np.concatenate(images), np.concatenate(offsets))

    def _groups(self, order: Sequence[int]) -> Iterator[list[int]]:
        """Runs of sequences about the same picture."""
        group: list[int] = []
        for index in order:
            image = self._sequences[index].image
            if group and (image < 0 or image != self._sequences[group[-1]].image):
                yield group
                group = []
            group.append(index)
        if group:
            yield group

    def _added(self, indices: Sequence[int]) -> int:
        """Packed positions of sequences in the packer's order."""
        shared = sum(self._shared(left, right) for left, right in pairwise(indices))
        return sum(len(self._keys[index]) for index in indices) - shared

    def _shared(self, left: int, right: int) -> int:
        """Length of the common beginning of two sequences."""
        first, second = self._keys[left], self._keys[right]
        length = min(len(first), len(second))
        differing = np.flatnonzero(first[:length] != second[:length])
        return int(differing[0]) if len(differing) else length
