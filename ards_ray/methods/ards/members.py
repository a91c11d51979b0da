"""Members of the worst-case evaluation subgroups."""

from dataclasses import dataclass

import numpy as np

from ards_ray.arrays.best import best
from ards_ray.arrays.seeds import generator
from ards_ray.config import SubgroupSettings


@dataclass(frozen=True)
class Candidates:
    """Scored conversations that may become members of one subgroup, all arrays [n], in row order.

    Attributes:
        name: Name of the subgroup.
        rows: int64.
        clean_loss: float32.
        corrupted_loss: float32, NaN where nothing was corrupted.
        corrupted_correct: bool.
        choice: bool, conversations of format `choice`.
    """

    name: str
    rows: np.ndarray
    clean_loss: np.ndarray
    corrupted_loss: np.ndarray
    corrupted_correct: np.ndarray
    choice: np.ndarray

    @property
    def loss_gap(self) -> np.ndarray:
        """|ℓ(x) − ℓ(x′)|, float32, NaN where nothing was corrupted."""
        return np.abs(self.clean_loss - self.corrupted_loss)


def draw(eligible: np.ndarray, name: str, size: int, seed: int) -> np.ndarray:
    """A seeded sample of a subgroup's conversations, in their order; all of them if there are no more.

    Args:
        eligible: int64 [n], the conversations that may be drawn, in row order.
        name: Name of the subgroup.
        size: How many.
        seed: The run's seed.
    """
    if len(eligible) <= size:
        return eligible
    return np.sort(generator(seed, "members", name.encode()).choice(eligible, size=size, replace=False))


def worst_case(candidates: Candidates, settings: SubgroupSettings, size: int, seed: int) -> np.ndarray:
    """S_m = top_B { x ∈ C_m : |ℓ(x) − ℓ(x′)| }, equal gaps by row (ARDS), and its variants.

    Where candidates are drawn (`subgroups.candidates`) the others have no corrupted loss.

    Args:
        candidates: The cluster.
        settings: `perturb` and `criterion`.
        size: B.
        seed: Seed of what is drawn.

    Returns:
        Indices into the candidates, first member first.
    """
    if not settings.perturb:
        return draw(np.arange(len(candidates.rows)), candidates.name, size, seed)
    eligible = np.flatnonzero(np.isfinite(candidates.loss_gap))
    if settings.criterion == "answer" and candidates.choice.all():
        return eligible[~candidates.corrupted_correct[eligible]][:size]
    eligible = eligible[best(candidates.rows[eligible], candidates.loss_gap[eligible], size)]
    return eligible[np.lexsort((candidates.rows[eligible], -candidates.loss_gap[eligible]))]


def subgroup_loss(clean_loss: np.ndarray, corrupted_loss: np.ndarray, perturb: bool) -> float:
    """ℓ_S: the mean over members of (clean + corrupted loss) / 2, or of the clean loss without perturbation."""
    clean = clean_loss.astype(np.float64)
    if not perturb:
        return float(clean.mean())
    return float(((clean + corrupted_loss.astype(np.float64)) / 2).mean())


def difficulty_weights(losses: np.ndarray, temperature: float) -> np.ndarray:
    """w = softmax over subgroups of ℓ_S / T, float64 [subgroups]."""
    scaled = (losses - losses.max()) / temperature
    exponentials = np.exp(scaled)
    return exponentials / exponentials.sum()
