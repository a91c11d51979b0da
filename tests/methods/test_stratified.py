"""Stratified: random, with the corpus's own shares of formats or sources."""

from collections import Counter
from fractions import Fraction
from typing import Any

import pytest


def hamilton(counts: dict[str, int], size: int) -> dict[str, int]:
    """Largest remainders, in exact fractions, equal ones by name."""
    total = sum(counts.values())
    exact = {name: Fraction(size * count, total) for name, count in counts.items()}
    order = sorted(counts, key=lambda name: (int(exact[name]) - exact[name], name))
    left = size - sum(map(int, exact.values()))
    shares = {name: int(exact[name]) + (name in order[:left]) for name in counts}
    return {name: share for name, share in shares.items() if share}


@pytest.mark.parametrize("by", ["format", "source"])
@pytest.mark.parametrize(("budget", "size"), [(0.1, 13), (0.2, 27), (0.3, 41)])
def test_each_group_has_its_share(chosen: Any, corpus: Any, by: str, budget: float, size: int) -> None:
    """Random but for the luck of the draw between groups: only then it shows what that luck does."""
    groups = corpus.formats if by == "format" else corpus.sources
    rows = chosen("stratified", mixture__budget=budget, stratified__by=by)
    assert len(rows) == size
    assert dict(Counter(groups[row] for row in rows)) == hamilton(Counter(groups), size)


def test_the_seed_decides_within_groups(chosen: Any, corpus: Any) -> None:
    """Other conversations, the same composition."""
    first, again, other = (chosen("stratified", f"run-{n}", seed=seed) for n, seed in enumerate((42, 42, 43)))
    assert first == again != other
    assert Counter(corpus.formats[row] for row in first) == Counter(corpus.formats[row] for row in other)


def test_another_grouping_is_another_mixture(chosen: Any) -> None:
    """A changed setting that went unnoticed would leave the old mixture under the new name."""
    first = chosen("stratified")
    assert chosen("stratified", stratified__by="source") != first
    assert chosen("stratified") == first
