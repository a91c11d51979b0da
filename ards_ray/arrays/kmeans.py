"""Clusters of conversation vectors: spherical k-means."""

import faiss
import numpy as np

from ards_ray.arrays.vectors import single_precision

ITERATIONS = 20
SAMPLE_PER_CENTROID = 1024
SMALLEST_CLUSTER = 3


def cluster_count(conversations: int, per_format: int) -> int:
    """Clusters of a format: k = min(`subgroups.per_format`, n // 3)."""
    return min(per_format, conversations // 3)


def train_centroids(sample: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Spherical k-means with FAISS.

    One thread, so that the result does not depend on the machine's cores.

    Args:
        sample: float32 [n, d] unit vectors, n at least k.
        k: Number of clusters.
        seed: Seed of the starting centroids.

    Returns:
        float32 [k, d] unit vectors.
    """
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        kmeans = faiss.Kmeans(
            sample.shape[1],
            k,
            niter=ITERATIONS,
            seed=seed,
            spherical=True,
            min_points_per_centroid=1,
            max_points_per_centroid=SAMPLE_PER_CENTROID,
        )
        kmeans.train(sample)
    finally:
        faiss.omp_set_num_threads(threads)
    return np.asarray(kmeans.centroids)


def assign(vectors: np.ndarray, centroids: np.ndarray, center: np.ndarray | None) -> np.ndarray:
    """The cluster of each vector: the nearest centroid by inner product, the first of equals.

    The length of a vector changes no order, so that vectors are not made unit vectors first; (r̂−μ)·c is r̂·c − μ·c.
    The products are NumPy's: with few centroids they take half as long as PyTorch's.

    Args:
        vectors: [n, d].
        centroids: float32 [k, d].
        center: float32 [d] or None.

    Returns:
        int16 [n].
    """
    found = [np.empty(0, dtype=np.int16)]
    for block in single_precision(vectors):
        rows = block.numpy()
        similarity = rows @ centroids.T
        if center is not None:
            similarity = similarity / np.linalg.norm(rows, axis=1, keepdims=True) - centroids @ center
        found.append(similarity.argmax(axis=1).astype(np.int16))
    return np.concatenate(found)
