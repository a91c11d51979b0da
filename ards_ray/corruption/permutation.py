"""Orders in which the options of a question are put."""

from itertools import permutations
from math import factorial
from typing import Literal

import numpy as np

EXHAUSTIVE_OPTIONS = 5
SAMPLED_ORDERS = 120

Order = tuple[int, ...]


def other_orders(options: int, wanted: int | Literal["all"], random: np.random.Generator) -> list[Order]:
    """Orders of the options other than the given one, drawn without repetition.

    Args:
        options: Number of options, 2 or more.
        wanted: How many. `all` is every order up to five options; above, the rotations and a sample, 120 in total.
        random: Draws the sample.
    """
    identity = tuple(range(options))
    if options <= EXHAUSTIVE_OPTIONS:
        every = list(permutations(identity))[1:]
        if wanted == "all" or wanted >= len(every):
            return every
        return [every[index] for index in random.choice(len(every), size=wanted, replace=False)]
    orders: dict[Order, None] = {}
    if wanted == "all":
        orders = {identity[shift:] + identity[:shift]: None for shift in range(1, options)}
    count = min(SAMPLED_ORDERS if wanted == "all" else wanted, factorial(options) - 1)
    while len(orders) < count:
        order = tuple(random.permutation(options).tolist())
        if order != identity:
            orders[order] = None
    return list(orders)
