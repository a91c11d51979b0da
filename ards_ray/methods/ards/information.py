"""The information score."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ards_ray.arrays.vectors import single_precision, unit

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ReferenceSubgroups:
    """What a corpus is scored against.

    Attributes:
        weights: float64 [subgroups], w.
        mean_members: float32 [subgroups, d], c_m = 1/B Σ r̂_j.
        members: float32 [all members, d] unit vectors, subgroup by subgroup; empty unless the similarity is `max`.
        sizes: Members of each subgroup.
        center: float32 [d], or None where vectors are not centred.
    """

    weights: np.ndarray
    mean_members: np.ndarray
    members: np.ndarray
    sizes: tuple[int, ...]
    center: np.ndarray | None


class Scorer:
    """I(x_i) = Σ_m w_m d_{i,m} with d_{i,m} = 1/B Σ_{j∈S_m} cos(r_i, r_j) (ARDS).

    A mean of cosines is a dot product with a mean, so the score is r̂_i · (Σ_m w_m c_m): one vector for the whole
    corpus. The maximum over subgroups needs one for each, the similarity `max` all members.
    """

    def __init__(
        self,
        reference: ReferenceSubgroups,
        aggregate: Literal["weighted-sum", "subgroup-maximum"],
        similarity: Literal["mean", "max"],
    ):
        self.reference = reference
        self.aggregate = aggregate
        self.similarity = similarity
        means = reference.mean_members.astype(np.float64)
        if similarity == "max":
            directions = reference.members
        elif aggregate == "weighted-sum":
            directions = (reference.weights @ means)[None]
        else:
            directions = means
        # Imported late, as below: help and settings name methods, and do not wait for it.
        import torch

        self._directions = torch.from_numpy(np.ascontiguousarray(directions, dtype=np.float32))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Scores float32 [n] of vectors [n, d] of any float type."""
        import torch

        products = torch.cat([self._cosines(rows) for rows in single_precision(vectors)])
        if self.similarity == "max":
            groups = torch.split(products, list(self.reference.sizes), dim=1)
            products = torch.stack([group.amax(dim=1) for group in groups], dim=1)
        elif self.aggregate == "weighted-sum":
            return products[:, 0].numpy()
        if self.aggregate == "subgroup-maximum":
            return products.amax(dim=1).numpy()
        return (products.double() @ torch.from_numpy(self.reference.weights)).float().numpy()

    def _cosines(self, rows: "torch.Tensor") -> "torch.Tensor":
        """Products of the unit vectors of `rows` float32 [n, d] with the directions, float32 [n, directions].

        The vectors are divided by their norms after the product, not before: one pass less over them. Centred,
        (r̂−μ)·u/‖r̂−μ‖ follows from r̂·u and r̂·μ.
        """
        import torch

        norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        products = rows @ self._directions.T / norms
        if self.reference.center is None:
            return products
        center = torch.from_numpy(self.reference.center)
        along = rows @ center[:, None] / norms
        squared = (1 - 2 * along + center @ center).clamp_min(torch.finfo(torch.float32).tiny)
        return (products - self._directions @ center) / squared.sqrt()


def mean_member(members: np.ndarray) -> np.ndarray:
    """c_m, float32 [d], of member vectors float32 [members, d] of unit length."""
    return members.mean(axis=0, dtype=np.float64).astype(np.float32)


def member_vectors(vectors: np.ndarray, center: np.ndarray | None) -> np.ndarray:
    """Member vectors as they enter the score: float32 [members, d] of unit length."""
    return unit(vectors, center).numpy()
