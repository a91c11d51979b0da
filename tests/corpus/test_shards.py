"""Shards: every conversation once, images together, and the same cut every time."""

from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ards_ray.corpus import shards
from ards_ray.corpus.readers import Entry
from ards_ray.corpus.shards import shard_corpus
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.errors import CorpusError


def corpus(images: list[str | None]) -> list[Entry]:
    return [
        Entry(
            row, f"c{row}", "/c.json", *(("text", ()) if image is None else ("image", (image,))), f'{{"id":"c{row}"}}'
        )
        for row, image in enumerate(images)
    ]


def embedded(count: int, source: str = "/c.parquet", first_row: int = 0) -> list[Entry]:
    return [Entry(first_row + n, "", source, "image", (f"{source}#{n}",), "{}") for n in range(count)]


def cut(entries: list[Entry], shard_size: int) -> list[list[int]]:
    with TemporaryDirectory() as scratch:
        return [table["row"].to_pylist() for table in shard_corpus(iter(entries), shard_size, Path(scratch))]


images = st.lists(st.one_of(st.none(), st.sampled_from("abcdefghijklmnop"), st.text(max_size=3)), max_size=120)


@settings(deadline=None, max_examples=50)
@given(images, st.integers(1, 40), st.integers(0, 60))
def test_the_promises_about_shards(names: list[str | None], shard_size: int, crowd: int) -> None:
    """A row lost or doubled breaks `scored + failed = conversations`; an image in two shards is encoded twice; a shard
    that is too large does not fit where the others do; and a cut that changes cannot be resumed."""
    names = names + ["crowd"] * crowd
    entries = corpus(names)
    pieces = cut(entries, shard_size)
    assert sorted(row for piece in pieces for row in piece) == list(range(len(names)))
    assert all(piece == sorted(piece) and 0 < len(piece) <= shard_size for piece in pieces)
    places = defaultdict(set)
    for number, piece in enumerate(pieces):
        for row in piece:
            if names[row] is not None:
                places[names[row]].add(number)
    counts = Counter(names)
    assert all(len(at) == 1 for name, at in places.items() if counts[name] <= shard_size)
    assert all(len(at) <= -(-counts[name] // shard_size) + 1 for name, at in places.items())
    assert cut(entries, shard_size) == pieces


@settings(deadline=None, max_examples=30)
@given(images, st.integers(1, 40), st.integers(1, 64), st.integers(1, 5))
def test_shards_do_not_depend_on_how_the_work_is_cut(
    names: list[str | None], shard_size: int, buckets: int, pending: int
) -> None:
    """Bucket and batch sizes are about memory: a change to them must not throw away finished shards."""
    entries = corpus(names)
    expected = cut(entries, shard_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_BUCKETS", buckets)
        patch.setattr(shards, "_PENDING_ROWS", pending)
        assert cut(entries, shard_size) == expected


@pytest.mark.parametrize(("count", "shard_size", "most"), [(1, 100, 1), (100, 100, 1), (101, 100, 2), (1000, 300, 4)])
def test_small_corpora_give_few_shards(count: int, shard_size: int, most: int) -> None:
    """A shard for each hash range would leave a GPU with batches of a few conversations."""
    pieces = cut(corpus([None] * count), shard_size)
    assert len(pieces) == most
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


def test_shards_are_about_equal() -> None:
    """Small shards waste the GPU, and a large one at the end keeps all workers waiting."""
    sizes = [len(piece) for piece in cut(corpus([f"{number % 1700}.jpg" for number in range(5000)]), 100)]
    assert sum(sizes) == 5000
    assert min(sizes) >= 90
    assert len(sizes) <= 52


def test_conversations_with_the_same_first_image_are_together() -> None:
    """The first picture is decoded once, whether or not a conversation shows others too."""
    shown = [(f"{row % 40}.jpg", *(f"{row}-{n}.jpg" for n in range(row % 3))) for row in range(400)]
    entries = [Entry(row, "", "/c.json", "image", images, "{}") for row, images in enumerate(shown)]
    pieces = cut(entries, 30)
    assert len(pieces) > 10
    for image in range(40):
        assert len({number for number, piece in enumerate(pieces) for row in piece if row % 40 == image}) == 1
    assert pieces == cut(corpus([images[0] for images in shown]), 30)


def test_an_image_with_too_many_conversations_is_cut() -> None:
    """One image with half of the corpus must not become one shard that no memory holds."""
    sizes = [len(piece) for piece in cut(corpus(["a.jpg"] * 1000 + [None] * 10), 100)]
    assert max(sizes) == 100
    assert len(sizes) <= 12


def test_embedded_images_of_a_shard_are_neighbours() -> None:
    """A shard of images from all over a Parquet file would read every row group of it, for every shard."""
    pieces = cut(embedded(1000) + embedded(530, "/d.parquet", 1000), 100)
    assert sorted(row for piece in pieces for row in piece) == list(range(1530))
    for piece in pieces:
        runs = 1 + sum(right != left + 1 for left, right in pairwise(piece))
        assert runs <= 3


def test_embedded_images_are_cut_the_same_wherever_the_corpus_lies() -> None:
    """A corpus that was moved is the same corpus."""
    assert cut(embedded(1000), 100) == cut(embedded(1000, "s3://bucket/c.parquet"), 100)


def test_shards_are_rows_of_the_conversations_table(tmp_path: Path) -> None:
    """Each shard becomes a part of that table as it is."""
    entries = corpus(["é.jpg", None, "b.jpg"])
    (table,) = shard_corpus(entries, 10, tmp_path / "new" / "scratch")
    assert table.schema.equals(CONVERSATIONS.schema(0))
    assert table.to_pylist() == [{**vars(entry), "images": list(entry.images)} for entry in entries]
    assert list(shard_corpus([], 10, tmp_path)) == []


def test_scratch_is_left_empty(tmp_path: Path) -> None:
    """A gigabyte left behind by every start, also a failed or abandoned one, fills the disk."""

    def broken() -> Iterator[Entry]:
        yield from corpus([None] * 100)
        raise CorpusError("cut off")

    with pytest.raises(CorpusError, match="cut off"):
        next(shard_corpus(broken(), 10, tmp_path))
    assert not list(tmp_path.iterdir())
    abandoned = shard_corpus(corpus([None] * 100), 10, tmp_path)
    assert isinstance(abandoned, Generator)
    next(abandoned)
    abandoned.close()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_in_scratch_is_not_read(tmp_path: Path) -> None:
    """Else conversations of the killed run would be scored a second time."""
    for number in range(128):
        (tmp_path / f"bucket-{number:03d}.arrow").write_bytes(b"left over")
    tables = list(shard_corpus(corpus([None] * 50), 10, tmp_path))
    assert pa.concat_tables(tables)["row"].to_pylist() != []
    assert sum(map(len, tables)) == 50
