"""ARDS a second time, from a run's own signals: double sums over pairs, no dot product with a mean, nothing shared
with the package. What the job says must agree with it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tables import read_signals, read_table, vectors_in

FORMATS = ("phrase", "choice", "caption", "region", "box", "image", "text")


@dataclass
class Conversations:
    """The scored conversations of a run, arrays in row order."""

    rows: np.ndarray
    formats: np.ndarray
    clusters: np.ndarray
    vectors: np.ndarray
    clean: np.ndarray
    corrupted: np.ndarray
    corrupted_correct: np.ndarray
    corpus: dict[int, str]

    @property
    def gaps(self) -> np.ndarray:
        return np.abs(self.clean - self.corrupted)


@dataclass
class Subgroup:
    """Places of its members among the conversations, first member first, and vectors of corrupted versions beside."""

    name: str
    members: list[int]
    corrupted: list[np.ndarray] = field(default_factory=list)
    loss: float = 0.0
    weight: float = 0.0


def read_conversations(run: Path, center: bool = False) -> Conversations:
    """Unit vectors in double precision, minus their mean and of unit length again where vectors are centred."""
    table = read_signals(run)
    table = table.filter(np.array(table["status"].to_pylist()) == "ok")
    corpus = {entry["row"]: entry["format"] for entry in read_table(run, "conversations").to_pylist()}
    cluster = {entry["row"]: entry["cluster"] for entry in read_table(run, "methods/ards/clusters").to_pylist()}
    rows = table["row"].to_pylist()
    vectors = units(vectors_in(table["vector"]))
    return Conversations(
        rows=np.array(rows),
        formats=np.array([corpus[row] for row in rows]),
        clusters=np.array([-1 if cluster[row] is None else cluster[row] for row in rows]),
        vectors=units(vectors - vectors.mean(axis=0)) if center else vectors,
        clean=np.array(table["clean_loss"].to_pylist(), dtype=np.float32),
        corrupted=np.array(table["corrupted_loss"].to_pylist(), dtype=np.float32),
        corrupted_correct=np.array([value is not False for value in table["corrupted_correct"].to_pylist()]),
        corpus=corpus,
    )


def units(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    return vectors / np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))


def nearest_clusters(conversations: Conversations, run: Path) -> np.ndarray:
    """The cluster of each conversation by the run's centroids, -1 where its format has none."""
    table = pq.read_table(run / "methods/ards/clusters/centroids.parquet").to_pylist()
    found = np.full(len(conversations.rows), -1)
    for index, (name, vector) in enumerate(zip(conversations.formats, conversations.vectors, strict=True)):
        cosines = {
            entry["cluster"]: np.dot(vector, np.array(entry["centroid"])) for entry in table if entry["format"] == name
        }
        if cosines:
            found[index] = max(cosines, key=lambda cluster: cosines[cluster])
    return found


def expected_clusters(conversations: Conversations, per_format: int) -> dict[str, int]:
    """k = min(per_format, n // 3) for each format that can be corrupted."""
    counts = {}
    for name in FORMATS:
        of_format = conversations.formats == name
        if np.isfinite(conversations.corrupted[of_format]).any():
            counts[name] = min(per_format, int(of_format.sum()) // 3)
    return {name: count for name, count in counts.items() if count}


def clusters_of(conversations: Conversations) -> dict[str, list[int]]:
    """Places of the conversations of each cluster; those of two or fewer are no subgroup."""
    found: dict[str, list[int]] = {}
    for name in FORMATS:
        for cluster in range(max(conversations.clusters) + 1):
            places = np.flatnonzero((conversations.formats == name) & (conversations.clusters == cluster))
            if len(places) > 2:
                found[f"{name}-{cluster:03d}"] = places.tolist()
    return found


def largest_gaps(conversations: Conversations, places: list[int], size: int) -> list[int]:
    """top_B of |ℓ(x) − ℓ(x′)|, equal gaps by row."""
    gaps = conversations.gaps
    corrupted = [place for place in places if np.isfinite(gaps[place])]
    return sorted(corrupted, key=lambda place: (-gaps[place], conversations.rows[place]))[:size]


def worst_case_subgroups(conversations: Conversations, size: int) -> list[Subgroup]:
    chosen = {name: largest_gaps(conversations, places, size) for name, places in clusters_of(conversations).items()}
    return [Subgroup(name, members) for name, members in chosen.items() if members]


def weigh(
    conversations: Conversations, subgroups: list[Subgroup], temperature: float = 1, perturb: bool = True
) -> None:
    """ℓ_S of each subgroup, and the softmax over them."""
    for subgroup in subgroups:
        losses = []
        for place in subgroup.members:
            clean, corrupted = float(conversations.clean[place]), float(conversations.corrupted[place])
            losses.append((clean + corrupted) / 2 if perturb else clean)
        subgroup.loss = sum(losses) / len(losses)
    exponentials = [np.exp(subgroup.loss / temperature) for subgroup in subgroups]
    for subgroup, exponential in zip(subgroups, exponentials, strict=True):
        subgroup.weight = float(exponential / sum(exponentials))


def scores(
    conversations: Conversations, subgroups: list[Subgroup], aggregate: str = "weighted-sum", similarity: str = "mean"
) -> np.ndarray:
    """I(x_i) = Σ_m w_m · 1/B Σ_{j∈S_m} cos(r_i, r_j), pair by pair, or its variants."""
    found = []
    for vector in conversations.vectors:
        similarities = []
        for subgroup in subgroups:
            members = [conversations.vectors[place] for place in subgroup.members] + subgroup.corrupted
            cosines = [float(np.dot(vector, member)) for member in members]
            similarities.append(max(cosines) if similarity == "max" else sum(cosines) / len(cosines))
        weights = [subgroup.weight for subgroup in subgroups]
        weighted = sum(weight * value for weight, value in zip(weights, similarities, strict=True))
        found.append(max(similarities) if aggregate == "subgroup-maximum" else weighted)
    return np.array(found)


def chosen_rows(run: Path, size: int, members: set[int]) -> set[int]:
    """The rows with the highest stored scores, equal ones by row, members left out."""
    table = read_table(run, "methods/ards/ranking").to_pylist()
    candidates = [(-entry["score"], entry["row"]) for entry in table if entry["row"] not in members]
    return {row for _, row in sorted(candidates)[:size]}
