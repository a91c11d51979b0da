"""Worst-case members: the largest loss gaps, and the variants of the ablations."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ards_ray.config import SubgroupSettings
from ards_ray.methods.ards.members import Candidates, difficulty_weights, draw, subgroup_loss, worst_case

NAN = float("nan")


def candidates(
    clean: list[float],
    corrupted: list[float],
    name: str = "choice-000",
    rows: list[int] | None = None,
    correct: list[bool] | None = None,
    choice: bool = True,
) -> Candidates:
    count = len(clean)
    return Candidates(
        name,
        np.array(rows if rows is not None else range(count), dtype=np.int64),
        np.array(clean, dtype=np.float32),
        np.array(corrupted, dtype=np.float32),
        np.array(correct if correct is not None else [True] * count),
        np.array([choice] * count),
    )


def members(given: Candidates, size: int = 3, seed: int = 42, **settings: Any) -> list[int]:
    return worst_case(given, SubgroupSettings(**settings), size, seed).tolist()


def test_the_largest_gaps_come_first() -> None:
    """A loss that falls under attack is as far from robust as one that rises."""
    assert members(candidates([1, 1, 1, 1, 1], [1.5, 1, 3, 0.25, 1.25])) == [2, 3, 0]


def test_equal_gaps_go_by_row() -> None:
    """Without a rule for ties two runs of the same job could choose different members."""
    given = candidates([0, 0, 0, 0], [1, 1, 2, 1], rows=[9, 4, 7, 5])
    assert members(given) == [2, 1, 3]


def test_conversations_without_a_corrupted_version_are_no_members() -> None:
    """Their gap is unknown, and NaN sorts anywhere."""
    assert members(candidates([5, 1, 1, 1], [NAN, 2, NAN, 1])) == [1, 3]
    assert members(candidates([1, 1], [NAN, NAN])) == []


small = st.integers(0, 3).map(float)


@given(st.lists(st.tuples(small, st.one_of(small, st.just(NAN))), min_size=1, max_size=30), st.integers(1, 12))
def test_nobody_outside_has_a_larger_gap(losses: list[tuple[float, float]], size: int) -> None:
    """S_m is the worst case, not a sample of bad ones."""
    given = candidates([clean for clean, _ in losses], [corrupted for _, corrupted in losses])
    chosen = members(given, size)
    ranked = sorted((-abs(clean - corrupted), row) for row, (clean, corrupted) in enumerate(losses) if corrupted >= 0)
    assert chosen == [row for _, row in ranked[:size]]


def test_wrong_answers_in_multiple_choice() -> None:
    """`criterion: answer` takes those answered wrong under attack in row order, as the reference does."""
    correct = [True, False, False, True, False]
    given = candidates([1] * 5, [9, 2, 4, 8, 1], correct=correct)
    assert members(given, criterion="answer") == [1, 2, 4]
    assert members(given, 2, criterion="answer") == [1, 2]
    assert members(candidates([1] * 5, [9, 2, NAN, 8, 1], correct=correct), criterion="answer") == [1, 4]
    assert members(candidates([1] * 5, [9, 2, 4, 8, 1], correct=correct, choice=False), criterion="answer") == [0, 3, 2]


def drawn(count: int, size: int, name: str = "choice-000", seed: int = 42) -> list[int]:
    return draw(np.arange(count), name, size, seed).tolist()


def test_candidates_are_a_seeded_sample() -> None:
    """The reference tries a sample of each cluster; unseeded, as there, no run can be repeated."""
    chosen = drawn(200, 50)
    assert len(set(chosen)) == 50
    assert chosen == sorted(chosen)
    assert chosen == drawn(200, 50)
    assert chosen != drawn(200, 50, seed=43)
    assert chosen != drawn(200, 50, name="box-000")
    assert drawn(200, 200) == drawn(200, 999) == list(range(200))
    # Half of the sample comes from either half of the cluster.
    assert 10 < sum(row < 100 for row in chosen) < 40


def test_those_that_were_not_drawn_are_no_members() -> None:
    """Their corrupted losses are unknown; as members they would need one."""
    losses = [float(row) if row % 3 == 0 else NAN for row in range(30)]
    assert members(candidates([0] * 30, losses), 4) == [27, 24, 21, 18]


def test_without_perturbation_members_are_drawn() -> None:
    """The ablation's control: whatever the gaps, seeded, none twice, those without a corrupted version as well."""
    count = 200
    given = candidates([0] * count, [NAN] * count)
    chosen = members(given, 50, perturb=False)
    assert len(set(chosen)) == 50
    assert chosen == members(given, 50, perturb=False)
    assert chosen == members(candidates([0] * count, list(range(count))), 50, perturb=False)
    assert chosen != members(given, 50, seed=43, perturb=False)
    assert 10 < sum(row < count // 2 for row in chosen) < 40
    assert sorted(members(given, 500, perturb=False)) == list(range(count))


def test_subgroup_loss() -> None:
    """The mean over members of (clean + corrupted) / 2; without perturbation there is only the clean loss."""
    clean, corrupted = np.array([1, 2], np.float32), np.array([3, 8], np.float32)
    assert subgroup_loss(clean, corrupted, perturb=True) == 3.5
    assert subgroup_loss(clean, np.array([NAN, NAN], np.float32), perturb=False) == 1.5


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.5])
def test_difficult_subgroups_weigh_more(temperature: float) -> None:
    """w = softmax(ℓ / T): the temperature keeps one subgroup of high loss from taking everything."""
    losses = [0.5, 2.0, 1.25]
    exponentials = [np.exp(loss / temperature) for loss in losses]
    expected = [value / sum(exponentials) for value in exponentials]
    np.testing.assert_allclose(difficulty_weights(np.array(losses), temperature), expected, rtol=1e-12)


def test_weights_of_extreme_losses_are_finite() -> None:
    """exp(1000) is infinite, and infinity by infinity would make every score NaN."""
    weights = difficulty_weights(np.array([1000.0, 999.0, 0.0]), 0.01)
    np.testing.assert_allclose(weights, [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(difficulty_weights(np.array([3.0]), 1.0), [1])
