"""Conversation vectors as unit vectors, centred or not."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Vectors come out of Arrow's read-only memory, and are only read.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable", category=UserWarning)

BLOCK = 64


def single_precision(vectors: np.ndarray) -> "Iterator[torch.Tensor]":
    """Blocks of vectors [n, d] of any float type as float32 [at most BLOCK, d].

    Each block takes the memory of the one before: fresh memory for all of them takes longer than the arithmetic.
    """
    # Imported late, as below: help and settings name methods, and do not wait for it.
    import torch

    rows = torch.from_numpy(vectors)
    block = torch.empty((min(BLOCK, len(rows)), rows.shape[1]))
    for first in range(0, max(len(rows), 1), BLOCK):
        some = rows[first : first + BLOCK]
        yield block[: len(some)].copy_(some)


def unit(vectors: np.ndarray, center: np.ndarray | None = None) -> "torch.Tensor":
    """Unit vectors r̂, or (r̂−μ)/‖r̂−μ‖ where a centre μ is given.

    Args:
        vectors: [n, d], any float type; half precision is what the signals hold.
        center: float32 [d], the mean of the corpus's unit vectors.

    Returns:
        float32 [n, d].
    """
    import torch

    rows = torch.nn.functional.normalize(torch.from_numpy(vectors).float(), dim=1)
    if center is None:
        return rows
    return torch.nn.functional.normalize(rows - torch.from_numpy(center), dim=1)
