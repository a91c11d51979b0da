"""Information scores: fast, and equal to the double sum that defines them."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ards_ray.arrays.vectors import unit
from ards_ray.methods.ards.information import ReferenceSubgroups, Scorer, mean_member, member_vectors
from ards_ray.methods.ards.members import difficulty_weights

Aggregate = Literal["weighted-sum", "subgroup-maximum"]
Similarity = Literal["mean", "max"]


def reference(groups: list[np.ndarray], weights: np.ndarray, center: np.ndarray | None) -> ReferenceSubgroups:
    """As the subgroups stage puts it together."""
    units = [member_vectors(group, center) for group in groups]
    return ReferenceSubgroups(
        weights=weights,
        mean_members=np.stack([mean_member(group) for group in units]),
        members=np.concatenate(units),
        sizes=tuple(map(len, groups)),
        center=center,
    )


def plain_score(
    vector: np.ndarray,
    groups: list[np.ndarray],
    weights: np.ndarray,
    center: np.ndarray | None,
    aggregate: Aggregate,
    similarity: Similarity,
) -> float:
    """I(x_i) by its definition, in double precision."""

    def direction(given: np.ndarray) -> np.ndarray:
        exact = given.astype(np.float64)
        exact = exact / np.sqrt((exact**2).sum())
        if center is not None:
            exact = exact - center.astype(np.float64)
            exact = exact / np.sqrt((exact**2).sum())
        return exact

    of_groups = []
    for group in groups:
        cosines = [float(direction(vector) @ direction(member)) for member in group]
        of_groups.append(sum(cosines) / len(cosines) if similarity == "mean" else max(cosines))
    if aggregate == "subgroup-maximum":
        return max(of_groups)
    return sum(weight * value for weight, value in zip(weights, of_groups, strict=True))


@pytest.mark.parametrize("aggregate", ["weighted-sum", "subgroup-maximum"])
@pytest.mark.parametrize("similarity", ["mean", "max"])
@pytest.mark.parametrize("centered", [False, True])
@settings(max_examples=25)
@given(
    st.integers(0, 2**32),
    st.integers(1, 30),
    st.integers(8, 64),
    st.lists(st.integers(1, 7), min_size=1, max_size=6),
    st.sampled_from([np.float16, np.float32]),
    st.floats(0, 2),
)
def test_scores_are_the_double_sum(
    aggregate: Aggregate,
    similarity: Similarity,
    centered: bool,
    seed: int,
    count: int,
    width: int,
    sizes: list[int],
    kind: Any,
    common: float,
) -> None:
    """One dot product replaces it, which makes millions of conversations cheap; it must not change who wins."""
    random = np.random.default_rng(seed)
    # Vectors of one model share a part, and are not exactly of unit length in half precision.
    shared = common * random.standard_normal(width)
    vectors = (random.standard_normal((count, width)) + shared).astype(kind)
    groups = [(random.standard_normal((size, width)) + shared).astype(kind) for size in sizes]
    weights = random.dirichlet(np.ones(len(sizes)))
    center = None
    if centered:
        center = unit(np.concatenate([vectors, *groups])).numpy().mean(axis=0)
        # A vector that is the centre itself has no direction.
        if np.linalg.norm(unit(np.concatenate([vectors, *groups])).numpy() - center, axis=1).min() < 0.05:
            return
    scores = Scorer(reference(groups, weights, center), aggregate, similarity)(vectors)
    expected = [plain_score(vector, groups, weights, center, aggregate, similarity) for vector in vectors]
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4 if centered else 1e-5)


def test_scores_of_the_reference(conformance: Path) -> None:
    """Weights and both similarities as the published implementation computes them on given subgroups."""
    given = np.load(conformance / "scores.npz")
    groups = [given["members"][given["member_subgroup"] == name] for name in given["subgroup"]]
    weights = difficulty_weights(given["subgroup_loss"], 1.0)
    np.testing.assert_allclose(weights, given["weight"], rtol=0, atol=1e-5)
    measure = reference(groups, weights, None)
    mean = Scorer(measure, "weighted-sum", "mean")(given["train"])
    np.testing.assert_allclose(mean, given["score_mean"], rtol=0, atol=1e-5)
    nearest = Scorer(measure, "weighted-sum", "max")(given["train"])
    np.testing.assert_allclose(nearest, given["score_max"], rtol=0, atol=1e-5)


def test_losses_of_the_references_subgroups(conformance: Path) -> None:
    """A subgroup's loss is the mean over its members."""
    given = np.load(conformance / "scores.npz")
    losses = [given["member_loss"][given["member_subgroup"] == name].mean() for name in given["subgroup"]]
    np.testing.assert_allclose(losses, given["subgroup_loss"], rtol=1e-5)


@pytest.mark.parametrize("aggregate", ["weighted-sum", "subgroup-maximum"])
@pytest.mark.parametrize("similarity", ["mean", "max"])
def test_nothing_to_score(aggregate: Aggregate, similarity: Similarity) -> None:
    """A part in which all conversations failed has no vectors."""
    groups = [np.eye(4, dtype=np.float32)[:2], np.eye(4, dtype=np.float32)[2:]]
    scorer = Scorer(reference(groups, np.array([0.5, 0.5]), None), aggregate, similarity)
    assert scorer(np.empty((0, 4), dtype=np.float16)).shape == (0,)


def test_neighbours_do_not_matter() -> None:
    """Parts hold other conversations when shards are cut differently; the order of two close ones must hold."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((50, 32)).astype(np.float16)
    groups = [random.standard_normal((5, 32)).astype(np.float16) for _ in range(3)]
    scorer = Scorer(reference(groups, np.array([0.2, 0.3, 0.5]), None), "weighted-sum", "mean")
    together = scorer(vectors)
    # Sums of 32 products in single precision, in another order.
    tolerance = 2 * 32 * 2**-24
    np.testing.assert_allclose(together, np.concatenate([scorer(row[None]) for row in vectors]), rtol=0, atol=tolerance)
