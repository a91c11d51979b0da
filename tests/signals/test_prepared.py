"""Prepared shards: what goes into the object store comes out of it."""

import pickle
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ards_ray.models.sequence import Picture, TokenSequence
from ards_ray.signals.prepared import PreparedConversation, PreparedShard


@st.composite
def sequences(draw: st.DrawFn) -> TokenSequence:
    ids = draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=12))
    targets = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    return TokenSequence(np.array(ids, np.int32), np.array(targets, bool), draw(st.integers(-1, 3)))


@st.composite
def conversations(draw: st.DrawFn) -> PreparedConversation:
    failed = draw(st.booleans())
    return PreparedConversation(
        row=draw(st.integers(0, 2**62)),
        signals=tuple(draw(st.lists(st.sampled_from(["clean", "vectors", "corrupted"]), max_size=3, unique=True))),
        attack=draw(st.sampled_from([None, "noise", "symbol+permutation"])),
        error=draw(st.text(st.characters(codec="utf-8"), max_size=9)) if failed else None,
        clean=None if failed else draw(st.none() | sequences()),
        corrupted=() if failed else tuple(draw(st.lists(sequences(), max_size=3))),
        content=None if failed else draw(st.binary(min_size=32, max_size=32)),
    )


def assert_equal(found: PreparedShard, expected: PreparedShard) -> None:
    assert found.name == expected.name
    assert found.signals == expected.signals
    assert list(found.reused.items()) == list(expected.reused.items())
    assert len(found.pictures) == len(expected.pictures)
    for picture, given_ in zip(found.pictures, expected.pictures, strict=True):
        assert picture.size == given_.size
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.shape == given_.pixels.shape
        assert (picture.pixels == given_.pixels).all()
    assert len(found.conversations) == len(expected.conversations)
    for item, wanted in zip(found.conversations, expected.conversations, strict=True):
        for name in ("row", "signals", "attack", "error", "content"):
            assert getattr(item, name) == getattr(wanted, name)
        assert (item.clean is None, len(item.corrupted)) == (wanted.clean is None, len(wanted.corrupted))
        assert len(item.versions) == len(wanted.versions)
        for version, sequence in zip(item.versions, wanted.versions, strict=True):
            assert (version.ids.dtype, version.targets.dtype) == (np.int32, bool)
            assert version.ids.tolist() == sequence.ids.tolist()
            assert version.targets.tolist() == sequence.targets.tolist()
            assert version.image == sequence.image


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    shape = draw(st.tuples(*[st.integers(1, 4)] * 3))
    pixels = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (*shape, 3), dtype=np.uint8)
    return Picture(pixels, draw(st.tuples(st.integers(1, 9000), st.integers(1, 9000))))


@given(st.lists(conversations(), max_size=6), st.lists(pictures(), max_size=3))
def test_a_shard_survives_the_way_to_its_actor(items: Sequence[PreparedConversation], shown: Sequence[Picture]) -> None:
    """A token, a target or a pixel that changes on the way changes scores, and nobody would ever see it."""
    reused = {"vectors": pa.table({"row": [len(items)]}), "clean": pa.table({"row": [0, 1]})} if items else {}
    shard = PreparedShard("part-00007", ("clean", "vectors"), tuple(items), tuple(shown), reused)
    assert_equal(PreparedShard.from_row(shard.to_row()), shard)


def test_a_shard_without_images_or_conversations() -> None:
    """Text-only shards have no pixels, and a shard may be asked for rows of which it has none."""
    empty = PreparedShard("part-00000")
    assert_equal(PreparedShard.from_row(empty.to_row()), empty)


def test_a_shard_is_one_row_of_plain_values() -> None:
    """Ray Data cuts tables anywhere: a shard of several rows would reach the actor in pieces."""
    sequence = TokenSequence(np.arange(4, dtype=np.int32), np.arange(4) > 1, -1)
    item = PreparedConversation(3, ("clean",), clean=sequence, content=b"3" * 32)
    shard = PreparedShard("part-00000", ("clean",), (item,))
    row = shard.to_row()
    assert {name: type(value) for name, value in row.items()} == {
        "name": str,
        "conversations": bytes,
        "signals": list,
        "reused": list,
        "tables": list,
        "shapes": np.ndarray,
        "pixels": bytes,
    }
    assert_equal(PreparedShard.from_row(pickle.loads(pickle.dumps(row))), shard)
