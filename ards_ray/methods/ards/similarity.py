"""Mean cosines within and between formats, on a sample."""

import numpy as np

from ards_ray.config import Settings
from ards_ray.methods.ards.clusters import read_center, sample_vectors, total
from ards_ray.run.directory import RunDirectory
from ards_ray.signals.vectors import VECTORS

SAMPLE = 512


def mean_cosines(run: RunDirectory, settings: Settings) -> dict[str, dict[str, float]]:
    """Mean cosine between the conversation vectors of any two formats, pairs of a vector with itself left out.

    Sums of cosines are products of sums: of n unit vectors, ‖Σ r̂‖² is the sum over all pairs, n of them with itself.
    """
    center = read_center(run, settings)
    parts = VECTORS.table.parts(run)
    samples = {name: sample_vectors(run, parts, name, SAMPLE, settings.seed, center) for name in total(parts)}
    sums = {name: sample.sum(axis=0, dtype=np.float64) for name, sample in samples.items()}
    cosines: dict[str, dict[str, float]] = {}
    for first, left in sums.items():
        cosines[first] = {}
        for second, right in sums.items():
            n, m = len(samples[first]), len(samples[second])
            if first != second:
                cosines[first][second] = round(float(left @ right) / (n * m), 6)
            elif n > 1:
                cosines[first][second] = round((float(left @ right) - n) / (n * (n - 1)), 6)
    return cosines
