"""Clusters: found where they are, and the same in every run."""

import faiss
import numpy as np
import pytest

from ards_ray.arrays.kmeans import assign, cluster_count, train_centroids
from ards_ray.arrays.vectors import unit


def planted(clusters: int, each: int = 60, width: int = 16, spread: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around orthogonal directions, mixed, and the cluster of each."""
    random = np.random.default_rng(1)
    labels = random.permutation(np.repeat(np.arange(clusters), each))
    vectors = np.eye(width)[labels] + spread * random.standard_normal((len(labels), width))
    return unit(vectors.astype(np.float32)).numpy(), labels


def agree(found: np.ndarray, labels: np.ndarray) -> bool:
    """Whether two divisions are the same, whatever the clusters are called."""
    pairs = set(zip(found.tolist(), labels.tolist(), strict=True))
    return len(pairs) == len(set(found.tolist())) == len(set(labels.tolist()))


@pytest.mark.parametrize("clusters", [1, 2, 3, 5])
def test_planted_clusters_are_found(clusters: int) -> None:
    """Subgroups are clusters: mixed up, a subgroup would be no group."""
    vectors, labels = planted(clusters)
    centroids = train_centroids(vectors, clusters, 42)
    assert centroids.shape == (clusters, 16)
    assert centroids.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-5)
    found = assign(vectors.astype(np.float16), centroids, None)
    assert found.dtype == np.int16
    assert agree(found, labels)


def test_length_does_not_matter() -> None:
    """The clusters are of directions: cosines are what the score is made of."""
    vectors, labels = planted(3)
    stretched = vectors * np.random.default_rng(0).uniform(0.1, 10, (len(vectors), 1)).astype(np.float32)
    assert agree(assign(stretched, train_centroids(vectors, 3, 42), None), labels)


def test_training_is_repeatable() -> None:
    """Other centroids after a restart would be other subgroups, and so another mixture."""
    vectors = unit(np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32)).numpy()
    first = train_centroids(vectors, 7, 42)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        assert np.array_equal(train_centroids(vectors, 7, 42), first)
        assert faiss.omp_get_max_threads() == 1
    finally:
        faiss.omp_set_num_threads(threads)
    assert np.array_equal(train_centroids(vectors, 7, 42), first)
    assert faiss.omp_get_max_threads() == threads
    assert not np.array_equal(train_centroids(vectors, 7, 43), first)


def test_the_nearest_centroid_and_of_equals_the_first() -> None:
    """By cosine. Equal centroids occur where conversations are copies of each other."""
    centroids = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)
    vectors = np.array([[9, 1], [0.1, 0.2], [1, 1]], dtype=np.float16)
    assert assign(vectors, centroids, None).tolist() == [0, 1, 0]
    assert assign(vectors[:0], centroids, None).tolist() == []


def test_clusters_around_a_centre() -> None:
    """Where all vectors share a large part, the centre is taken off before they are compared."""
    vectors, labels = planted(3)
    shared = np.zeros(16, dtype=np.float32)
    shared[-1] = 20
    moved = vectors + shared
    center = unit(moved).numpy().mean(axis=0)
    centroids = train_centroids(unit(moved, center).numpy(), 3, 42)
    assert agree(assign(moved, centroids, center), labels)


@pytest.mark.parametrize(
    ("conversations", "expected"), [(0, 0), (2, 0), (3, 1), (5, 1), (6, 2), (29, 9), (30, 10), (10**6, 10)]
)
def test_number_of_clusters(conversations: int, expected: int) -> None:
    """Three conversations to a cluster at the least: smaller ones are no subgroup."""
    assert cluster_count(conversations, 10) == expected


def test_as_many_clusters_as_a_small_format_allows() -> None:
    """A format of a few conversations must not end the job."""
    vectors, _ = planted(3, each=1)
    assert train_centroids(vectors, 1, 42).shape == (1, 16)
    copies = np.repeat(vectors[:1], 9, axis=0)
    assert len(set(assign(copies, train_centroids(copies, 3, 42), None).tolist())) == 1
