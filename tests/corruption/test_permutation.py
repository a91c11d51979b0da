"""Orders of options: each a real change, none twice, drawn by content and seed alone."""

from itertools import permutations
from math import factorial
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ards_ray.corruption.permutation import Order, other_orders
from ards_ray.corruption.seeds import generator


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
