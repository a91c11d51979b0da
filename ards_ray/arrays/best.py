"""The best of some scores."""

import numpy as np


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
