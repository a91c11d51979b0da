"""Which conversations make the mixture."""

from collections.abc import Mapping

import numpy as np


def budget_count(budget: int | float, conversations: int) -> int:
    """The size that a budget asks for: int(budget · conversations) for a fraction, else the count itself."""
    return int(budget * conversations) if budget < 1 else int(budget)


def format_quotas(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """Shares of the budget as in the corpus, by largest remainders, equal ones by name; they add up to `size`."""
    total = sum(counts.values())
    exact = {name: size * count / total for name, count in counts.items()}
    shares = {name: int(share) for name, share in exact.items()}
    rest = size - sum(shares.values())
    for name in sorted(exact, key=lambda name: (shares[name] - exact[name], name))[:rest]:
        shares[name] += 1
    return shares


def best(rows: np.ndarray, scores: np.ndarray, size: int) -> np.ndarray:
    """Indices of the highest scores, equal ones by row, in no particular order.

    Args:
        rows: int64 [n].
        scores: float32 [n].
        size: How many, all if there are fewer.
    """
    if size <= 0:
        return np.empty(0, dtype=np.int64)
    if size >= len(rows):
        return np.arange(len(rows))
    threshold = np.partition(scores, len(scores) - size)[len(scores) - size]
    above = np.flatnonzero(scores > threshold)
    equal = np.flatnonzero(scores == threshold)
    equal = equal[np.argsort(rows[equal])][: size - len(above)]
    return np.concatenate([above, equal])
