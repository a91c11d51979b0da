"""Mixture: as many as the budget says, and exactly the best."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ards_ray.arrays.best import best
from ards_ray.arrays.shares import largest_remainders
from ards_ray.corpus.formats import FORMATS
from ards_ray.mixture.budget import budget_count


@pytest.mark.parametrize(
    ("budget", "conversations", "expected"),
    [(0.3, 665_298, 199_589), (0.3, 10, 3), (0.5, 3, 1), (0.01, 10, 0), (1, 10, 1), (5, 10, 5), (5.0, 10, 5)],
)
def test_budget(budget: float, conversations: int, expected: int) -> None:
    """A fraction is of the whole corpus, rounded down as in the reference; from one on it is a count."""
    assert budget_count(budget, conversations) == expected
    assert isinstance(budget_count(budget, conversations), int)


@given(
    st.lists(st.sampled_from([0.0, -0.5, 0.25, 1.0]), max_size=30).flatmap(
        lambda scores: st.tuples(st.just(scores), st.permutations(range(len(scores))))
    ),
    st.integers(-1, 35),
)
def test_the_highest_scores_and_then_the_first_rows(given_scores: tuple[list[float], list[int]], size: int) -> None:
    """Many scores are equal in float32: the first rows win, or the mixture depends on the order of the parts."""
    scores, rows = given_scores
    chosen = best(np.array(rows, dtype=np.int64), np.array(scores, dtype=np.float32), size)
    ranked = sorted(zip([-score for score in scores], rows, strict=True))
    assert sorted(rows[index] for index in chosen) == sorted(row for _, row in ranked[: max(size, 0)])
    assert len(set(chosen.tolist())) == len(chosen)


@given(st.dictionaries(st.sampled_from(FORMATS), st.integers(0, 1000), min_size=1), st.integers(0, 2000))
def test_quotas_are_shares_and_add_up(counts: dict[str, int], size: int) -> None:
    """A mixture of another size than the budget, or with a format left out, would be no fair control."""
    total = sum(counts.values())
    if not total:
        return
    quotas = largest_remainders(counts, size)
    assert sum(quotas.values()) == size
    for name, count in counts.items():
        assert abs(quotas[name] - size * count / total) < 1
        assert count or not quotas[name]


def test_quotas_of_equal_remainders_go_by_name() -> None:
    """Two runs on the same corpus must not differ by the order in which formats were counted."""
    assert largest_remainders({"text": 1, "box": 1, "image": 1}, 2) == {"text": 0, "box": 1, "image": 1}
    assert largest_remainders({"image": 1, "box": 1, "text": 1}, 2) == {"text": 0, "box": 1, "image": 1}
    assert largest_remainders({"choice": 60, "image": 25, "text": 15}, 10) == {"choice": 6, "image": 3, "text": 1}
