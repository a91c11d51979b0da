"""Corrupted losses: what the model says of the corrupted version of a conversation that moves its loss most."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from ards_ray.models.sequence import SequenceScore
from ards_ray.signals.signal import Scores, Signal


def strongest(clean_loss: float, corrupted: Sequence[SequenceScore]) -> SequenceScore | None:
    """The version with the largest loss gap |ℓ(x) − ℓ(x′)|, the first of equals; None where nothing is corrupted."""
    return max(corrupted, key=lambda score: abs(score.loss - clean_loss), default=None)


def _values(scores: Scores) -> Mapping[str, Any] | None:
    if scores.item.attack is None:
        return None
    assert scores.clean is not None
    found = strongest(scores.clean.loss, scores.corrupted)
    assert found is not None
    return {
        "corrupted_loss": found.loss,
        "corrupted_correct": found.correct,
        "corruption": scores.item.attack,
    }


CORRUPTED = Signal(
    name="corrupted",
    version=1,
    columns=lambda width: [
        pa.field("corrupted_loss", pa.float32()),
        pa.field("corrupted_correct", pa.bool_()),
        pa.field("corruption", pa.string()),
    ],
    versions="corrupted",
    depends=lambda settings: {"attacks": asdict(settings.attacks), "seed": settings.seed},
    values=_values,
)
