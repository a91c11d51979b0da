"""Choice first: the control for "it only takes more multiple choice"."""

from typing import Any

import pytest


@pytest.mark.parametrize(("budget", "size"), [(0.1, 13), (0.2, 27), (0.3, 41)])
def test_multiple_choice_comes_first(chosen: Any, corpus: Any, budget: float, size: int) -> None:
    """As much multiple choice as the budget holds, and all the rest of it random."""
    there = [row for row, name in enumerate(corpus.formats) if name == "choice"]
    assert 27 < len(there) < 41
    rows = chosen("choice-first", mixture__budget=budget)
    assert len(rows) == size
    choice = {row for row in rows if corpus.formats[row] == "choice"}
    assert len(choice) == min(size, len(there))
    others = {corpus.formats[row] for row in rows} - {"choice"}
    assert bool(others) == (size > len(there))


def test_the_seed_decides_what_joins(chosen: Any, corpus: Any) -> None:
    """Whatever the seed, multiple choice is in it; the others are drawn."""
    first, again, other = (chosen("choice-first", f"run-{n}", seed=seed) for n, seed in enumerate((42, 42, 43)))
    assert first == again != other
    differing = {*first} ^ {*other}
    assert "choice" not in {corpus.formats[row] for row in differing}
