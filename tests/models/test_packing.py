"""Packing: every sequence is there, what is shared is there once, and no batch is larger than it may be."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ards_ray.models.packing import Packer
from ards_ray.models.sequence import TokenSequence

IMAGE = 9


@st.composite
def shards(draw: st.DrawFn) -> list[TokenSequence]:
    """Sequences over few tokens, so that many begin alike; some show a picture of three positions, cut or whole."""
    sequences = []
    for _ in range(draw(st.integers(1, 9))):
        ids = draw(st.lists(st.integers(1, 2), min_size=1, max_size=6))
        image = draw(st.integers(-1, 2))
        if image >= 0:
            at = draw(st.integers(0, len(ids)))
            ids = ids[:at] + [IMAGE] * 3 + ids[at:]
            ids = ids[: draw(st.integers(1, len(ids)))]
        if IMAGE not in ids:
            image = -1
        sequences.append(TokenSequence(np.array(ids, np.int32), np.ones(len(ids), bool), image))
    return sequences


def beginnings(sequence: TokenSequence) -> list[tuple]:
    keys = [(int(token), sequence.image if token == IMAGE else -1) for token in sequence.ids]
    return [tuple(keys[: end + 1]) for end in range(len(keys))]


@given(shards())
def test_a_pack_holds_every_sequence_and_nothing_twice(sequences: list[TokenSequence]) -> None:
    """A lost token is another text; one that is there twice is time spent twice."""
    packer = Packer(sequences, IMAGE)
    pack = packer.pack(packer.order)
    assert sorted(pack.indices) == list(range(len(sequences)))
    for index, places, owned in zip(pack.indices, pack.places, pack.owned, strict=True):
        sequence = sequences[index]
        assert pack.ids[places].tolist() == sequence.ids.tolist()
        shown = sequence.ids == IMAGE
        assert pack.images[places].tolist() == np.where(shown, sequence.image, -1).tolist()
        assert pack.offsets[places][shown].tolist() == list(range(shown.sum()))
        assert (
            places[len(places) - owned :].tolist() == list(range(places[-1] + 1 - owned, places[-1] + 1)) or not owned
        )
    assert len(pack) == len({path for sequence in sequences for path in beginnings(sequence)}) == sum(pack.owned)


@given(shards(), st.integers(1, 30))
def test_batches_keep_to_the_budget(sequences: list[TokenSequence], budget: int) -> None:
    """Memory is planned by it: only a single sequence may be more."""
    packer = Packer(sequences, IMAGE)
    batches = list(packer.batches(packer.order, budget))
    assert [index for batch in batches for index in batch] == packer.order
    for batch in batches:
        assert len(packer.pack(batch)) <= budget or len(batch) == 1


@given(shards(), st.randoms())
def test_batches_depend_on_the_sequences_alone(sequences: list[TokenSequence], random) -> None:  # type: ignore[no-untyped-def]
    """The same mixture, byte for byte, rests on the same batches."""
    packer = Packer(sequences, IMAGE)
    first = [packer.pack(batch).ids.tolist() for batch in packer.batches(packer.order, 12)]
    shuffled = list(sequences)
    random.shuffle(shuffled)
    other = Packer(shuffled, IMAGE)
    assert [other.pack(batch).ids.tolist() for batch in other.batches(other.order, 12)] == first
