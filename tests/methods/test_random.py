"""Random: the baseline that every other method must beat."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tables import read_table

from ards_ray.config import Settings
from ards_ray.errors import SettingsError
from ards_ray.methods.random import random_scores


@pytest.mark.parametrize(("budget", "size"), [(0.1, 13), (0.2, 27), (0.3, 41), (1, 1), (100, 100)])
def test_exactly_as_many_as_the_budget(chosen: Any, budget: float, size: int) -> None:
    """A baseline with more conversations than the method it is compared with is none."""
    assert len(chosen("random", mixture__budget=budget)) == size


def test_the_seed_alone_decides(chosen: Any) -> None:
    """A baseline that cannot be drawn again cannot be published; one that every seed draws alike has no variance."""
    first = chosen("random")
    assert chosen("random", "again", runtime__shard_size=16) == first
    other = chosen("random", "other", seed=43)
    assert len(other) == len(first)
    # 41 of 137: about 12 in common, where the draws are independent.
    assert 3 < len({*first} & {*other}) < 25


def test_every_conversation_has_the_same_chance() -> None:
    """Shards follow pictures, and the corpus its sources: a draw that favours some rows is a method of its own."""
    draws, size, budget = 400, 137, 41
    drawn = np.zeros(size)
    for seed in range(draws):
        corpus: Any = SimpleNamespace(size=size, job=SimpleNamespace(settings=Settings(seed=seed)))
        drawn[np.argsort(-random_scores(corpus, "random"))[:budget]] += 1
    chance = budget / size
    # Five standard deviations of a binomial distribution.
    assert abs(drawn - draws * chance).max() < 5 * np.sqrt(draws * chance * (1 - chance))


def test_the_ranking_has_every_conversation(chosen: Any, tmp_path: Path) -> None:
    """Another budget, or a curve over budgets, is made from it."""
    rows = chosen("random")
    table = read_table(tmp_path / "run", "methods/random/ranking")
    assert table["row"].to_pylist() == list(range(137))
    assert table["eligible"].to_pylist() == [True] * 137
    assert table["group"].null_count == 137
    scores = table["score"].to_numpy()
    assert sorted(np.argsort(-scores, kind="stable")[:41].tolist()) == rows


def test_a_larger_budget_adds_to_a_smaller(chosen: Any) -> None:
    """Curves over budgets compare mixtures of which each contains the one before."""
    small, large = (chosen("random", mixture__budget=budget) for budget in (0.1, 0.3))
    assert {*small} < {*large}


def test_the_quota_gives_each_format_its_share(chosen: Any, corpus: Any) -> None:
    """`mixture.quota` holds for every method that ranks."""
    rows = chosen("random", mixture__quota="format", mixture__budget=0.5)
    assert len(rows) == 68
    for name in {*corpus.formats}:
        share = sum(corpus.formats[row] == name for row in rows)
        assert abs(share - 68 * corpus.formats.count(name) / 137) < 1


def test_a_budget_of_no_conversation_is_refused(chosen: Any) -> None:
    """An empty mixture is found when training starts."""
    with pytest.raises(SettingsError, match=r"mixture.budget: 0.001 of 137 conversations is none of them"):
        chosen("random", mixture__budget=0.001)
