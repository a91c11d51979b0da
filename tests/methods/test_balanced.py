"""Balanced: of each group as many as of any other, as far as there are so many."""

from collections import Counter
from typing import Any

import pytest


def one_by_one(counts: dict[str, int], size: int) -> dict[str, int]:
    """Shares by giving one to each group in turn, in the order of names, to those that have any left."""
    shares = dict.fromkeys(sorted(counts), 0)
    while sum(shares.values()) < min(size, sum(counts.values())):
        for name in shares:
            if shares[name] < counts[name] and sum(shares.values()) < size:
                shares[name] += 1
    return {name: share for name, share in shares.items() if share}


@pytest.mark.parametrize("by", ["format", "source"])
@pytest.mark.parametrize(("budget", "size"), [(0.1, 13), (0.2, 27), (0.3, 41), (0.9, 123)])
def test_groups_are_equal(chosen: Any, corpus: Any, by: str, budget: float, size: int) -> None:
    """The control for "it only evens out the formats" must even them out, and fill the budget where one is short."""
    groups = corpus.formats if by == "format" else corpus.sources
    rows = chosen("balanced", mixture__budget=budget, balanced__by=by)
    assert len(rows) == size
    assert dict(Counter(groups[row] for row in rows)) == one_by_one(Counter(groups), size)


def test_the_seed_decides_within_groups(chosen: Any, corpus: Any) -> None:
    """Other conversations, the same composition."""
    first, again, other = (chosen("balanced", f"run-{n}", seed=seed) for n, seed in enumerate((42, 42, 43)))
    assert first == again != other
    assert Counter(corpus.formats[row] for row in first) == Counter(corpus.formats[row] for row in other)


def test_all_of_a_corpus(chosen: Any) -> None:
    """A budget that no grouping can fill equally still has an end."""
    assert chosen("balanced", mixture__budget=500) == list(range(137))
