"""Orders of options: each a real change, none twice, drawn by content and seed alone."""

from itertools import permutations
from math import factorial
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ards_ray.arrays.seeds import generator
from ards_ray.corruption.permutation import Order, order_total, other_orders, rotations


def orders(options: int, wanted: int | Literal["all"], seed: int = 0) -> list[Order]:
    return other_orders(options, wanted, np.random.default_rng(seed))


@given(st.integers(2, 26), st.one_of(st.integers(1, 200), st.just("all")), st.integers(0, 2**32))
def test_every_order_is_a_change_and_none_comes_twice(options: int, wanted: int | Literal["all"], seed: int) -> None:
    """The given order has no loss gap at all, and one that comes twice is computed twice for nothing."""
    drawn = orders(options, wanted, seed)
    assert all(sorted(order) == list(range(options)) for order in drawn)
    assert tuple(range(options)) not in drawn
    assert len(set(drawn)) == len(drawn)
    assert drawn == orders(options, wanted, seed)
    if wanted == "all":
        assert len(drawn) == (factorial(options) - 1 if options <= 5 else 120)
    else:
        assert len(drawn) == min(wanted, factorial(options) - 1)


@pytest.mark.parametrize("options", [2, 3, 4, 5])
def test_all_orders_up_to_five_options(options: int) -> None:
    """The worst case must be among those tried."""
    assert orders(options, "all") == list(permutations(range(options)))[1:]


@pytest.mark.parametrize("options", [6, 7, 12, 26])
def test_rotations_are_always_tried(options: int) -> None:
    """Only with them does every text stand once at every place, which is what a model with a favourite letter fails."""
    rotations = {tuple((place + shift) % options for place in range(options)) for shift in range(1, options)}
    assert rotations <= set(orders(options, "all"))


def permitted(options: int, fixed: tuple[int, ...]) -> list[Order]:
    """Every order in which those options stay and have the same ones before them."""
    return [
        order
        for order in permutations(range(options))
        if all(order[place] == place and sorted(order[:place]) == list(range(place)) for place in fixed)
    ]


@pytest.mark.parametrize(
    ("options", "fixed"),
    [
        (2, (1,)),
        (3, (2,)),
        (4, (3,)),
        (4, (2, 3)),
        (4, (1,)),
        (5, (0,)),
        (5, (2,)),
        (6, (5,)),
        (6, (3,)),
        (3, (0, 1, 2)),
    ],
)
def test_options_that_stay(options: int, fixed: tuple[int, ...]) -> None:
    """`All of the above` must stay below what it speaks of, wherever it stands; every other order is tried."""
    expected = permitted(options, fixed)
    random = np.random.default_rng(0)
    assert other_orders(options, "all", random, fixed) == expected[1:]
    assert order_total(options, fixed) == len(expected)
    if len(expected) > 2:
        assert set(other_orders(options, 1, random, fixed)) < set(expected[1:])


@pytest.mark.parametrize(("options", "fixed"), [(7, (6,)), (8, (6, 7)), (9, (3,)), (12, (0, 11))])
def test_options_that_stay_among_many(options: int, fixed: tuple[int, ...]) -> None:
    """Of too many orders a sample, with all rotations of what may change places."""
    drawn = other_orders(options, "all", np.random.default_rng(0), fixed)
    assert len(set(drawn)) == len(drawn) == 120
    for order in drawn:
        for place in fixed:
            assert order[place] == place
            assert sorted(order[:place]) == list(range(place))
    assert set(rotations(options, fixed)[1:]) <= set(drawn)


def test_rotations_of_what_may_change_places() -> None:
    """Every option stands once at each place that it can have."""
    assert rotations(4, (3,)) == ((0, 1, 2, 3), (1, 2, 0, 3), (2, 0, 1, 3))
    assert rotations(4, (2, 3)) == ((0, 1, 2, 3), (1, 0, 2, 3))
    assert rotations(6, (3,)) == ((0, 1, 2, 3, 4, 5), (1, 2, 0, 3, 5, 4), (2, 0, 1, 3, 4, 5))
    assert rotations(2, (1,)) == ((0, 1),)
    assert rotations(2, (0, 1)) == ((0, 1),)


def test_the_seed_decides_which_orders_are_drawn() -> None:
    """A second seed is how a user learns whether a result hangs on the draw."""
    drawn = [orders(5, 3, seed) for seed in range(20)]
    assert len({tuple(some) for some in drawn}) > 10


@pytest.mark.parametrize("options", [3, 4, 7])
def test_single_orders_are_drawn_evenly(options: int) -> None:
    """An order that is never drawn leaves a weakness that is never seen."""
    count = 400
    first = [orders(options, 1, seed)[0] for seed in range(count)]
    moved = np.array(first)
    for place in range(options):
        seen, times = np.unique(moved[:, place], return_counts=True)
        assert len(seen) == options
        assert times.min() > count / options / 3


def test_generators_differ_by_seed_purpose_and_content() -> None:
    """Noise and orders would otherwise repeat over images and questions."""
    first = {
        generator(seed, purpose, content).integers(2**63)
        for seed in (0, 1)
        for purpose in ("noise", "members")
        for content in (b"", b"a")
    }
    assert len(first) == 8
    assert generator(1, "noise", b"a").integers(2**63) in first
