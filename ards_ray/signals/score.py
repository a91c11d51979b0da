"""Signals, second step: the proxy scores a prepared shard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ards_ray.config import Settings
from ards_ray.models.family import ProxyModel
from ards_ray.models.scoring import score_sequences
from ards_ray.models.sequence import TokenSequence
from ards_ray.signals.corrupted import strongest
from ards_ray.signals.prepare import prepare_shard
from ards_ray.signals.prepared import PreparedShard
from ards_ray.signals.proxy import load_proxy, proxy_inputs
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.signal import Scores
from ards_ray.signals.work import SignalWork


@dataclass(frozen=True)
class ScoredShard:
    """Scores of a shard.

    Attributes:
        scores: For each conversation that was scored what the model said, in their order.
        splits: How often a batch was split because it could not be computed whole.
        width: Numbers in a conversation vector.
    """

    scores: list[Scores]
    splits: int
    width: int


def vector_width(model: ProxyModel, settings: Settings) -> int:
    """Numbers in a conversation vector."""
    return model.hidden_size * (2 if settings.proxy.vector == "attention" else 1)


def score_shard(
    model: ProxyModel, settings: Settings, shard: PreparedShard, corrupted_vectors: bool = False
) -> ScoredShard:
    """Score all versions of a shard's conversations.

    Args:
        model: The proxy.
        settings: The run's settings.
        shard: The shard.
        corrupted_vectors: Vectors of the corrupted versions are wanted too.
    """
    versions: list[TokenSequence] = []
    with_vector: list[bool] = []
    for item in shard.conversations:
        versions += item.versions
        if item.clean is not None:
            with_vector.append(any(SIGNALS[name].has_vectors for name in item.signals))
        with_vector += [corrupted_vectors] * len(item.corrupted)
    scored = score_sequences(
        model,
        versions,
        shard.pictures,
        with_vector,
        settings.proxy.vector == "attention",
        settings.runtime.batch_positions,
    )
    remaining = iter(scored.scores)
    scores = [
        Scores(
            item,
            None if item.clean is None else next(remaining),
            [next(remaining) for _ in item.corrupted],
        )
        for item in shard.conversations
    ]
    return ScoredShard(scores, scored.splits, vector_width(model, settings))


def score_corrupted(work: SignalWork, rows: Mapping[str, Sequence[int]]) -> dict[int, Any]:
    """Vectors float16 [d] of the corrupted versions of a few conversations, given by shard."""
    proxy = load_proxy(work.settings, work.model)
    inputs = proxy_inputs(str(work.settings.proxy.model))
    vectors = {}
    for name, some in rows.items():
        shard = prepare_shard(work, name, {"clean": some, "corrupted": some}, inputs)
        for scores in score_shard(proxy, work.settings, shard, corrupted_vectors=True).scores:
            best = strongest(scores.clean.loss, scores.corrupted) if scores.clean is not None else None
            if best is not None and best.vector is not None:
                vectors[scores.item.row] = best.vector.astype("float16")
    return vectors
