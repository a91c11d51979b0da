"""Orders in which the options of a question are put."""

from collections.abc import Iterable, Sequence
from itertools import pairwise, permutations, product
from math import factorial, prod
from typing import Literal

import numpy as np

# As many as five options have, the given one among them.
EXHAUSTIVE_ORDERS = 120
SAMPLED_ORDERS = 120

Order = tuple[int, ...]


def order_total(options: int, fixed: Sequence[int] = ()) -> int:
    """How many orders the options have, the given one among them; see `other_orders`."""
    return prod(factorial(len(block)) for block in _blocks(options, fixed))


def rotations(options: int, fixed: Sequence[int] = ()) -> tuple[Order, ...]:
    """The rotations of the given order, itself first (what CircularEval asks, MMBench, arXiv 2307.06281).

    What stands between fixed places rotates by itself, until each of its options has stood at each of its places.
    """
    blocks = _blocks(options, fixed)
    return tuple(
        _placed(options, blocks, (block[shift % len(block) :] + block[: shift % len(block)] for block in blocks))
        for shift in range(max(map(len, blocks), default=1))
    )


def other_orders(
    options: int, wanted: int | Literal["all"], random: np.random.Generator, fixed: Sequence[int] = ()
) -> list[Order]:
    """Orders of the options other than the given one, drawn without repetition.

    Args:
        options: Number of options.
        wanted: How many. `all` is every one of up to 120 orders, as five options have; above, the rotations and a
            sample, 120 in total.
        random: Draws the sample.
        fixed: Places whose option stays, ascending; no other option passes it.
    """
    identity = tuple(range(options))
    blocks = _blocks(options, fixed)
    total = order_total(options, fixed)
    if total <= EXHAUSTIVE_ORDERS:
        every = [_placed(options, blocks, some) for some in product(*map(permutations, blocks))][1:]
        if wanted == "all" or wanted >= len(every):
            return every
        return [every[index] for index in random.choice(len(every), size=wanted, replace=False)]
    orders: dict[Order, None] = {}
    if wanted == "all":
        orders = dict.fromkeys(rotations(options, fixed)[1:])
    count = min(SAMPLED_ORDERS if wanted == "all" else wanted, total - 1)
    while len(orders) < count:
        order = _placed(options, blocks, (np.array(block)[random.permutation(len(block))].tolist() for block in blocks))
        if order != identity:
            orders[order] = None
    return list(orders)


def _blocks(options: int, fixed: Sequence[int]) -> list[Order]:
    """The places between those that are fixed: runs of options that change places among themselves."""
    ends = [-1, *fixed, options]
    runs = (tuple(range(before + 1, behind)) for before, behind in pairwise(ends))
    return [run for run in runs if run]


def _placed(options: int, blocks: Iterable[Order], contents: Iterable[Sequence[int]]) -> Order:
    """The order with these contents in the blocks, and every other option where it was."""
    order = list(range(options))
    for block, content in zip(blocks, contents, strict=True):
        order[block[0] : block[-1] + 1] = content
    return tuple(order)
