"""Clean losses: what the model says of a conversation as it stands in the corpus."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ards_ray.signals.signal import Scores, Signal


def _values(scores: Scores) -> Mapping[str, Any]:
    sequence, score = scores.item.clean, scores.clean
    assert sequence is not None
    assert score is not None
    return {
        "clean_loss": score.loss,
        "clean_correct": score.correct,
        "target_tokens": int(sequence.targets.sum()),
        "sequence_length": len(sequence),
        "content": scores.item.content,
    }


CLEAN = Signal(
    name="clean",
    version=1,
    columns=lambda width: [
        pa.field("clean_loss", pa.float32()),
        pa.field("clean_correct", pa.bool_()),
        pa.field("target_tokens", pa.int32()),
        pa.field("sequence_length", pa.int32()),
        pa.field("content", pa.binary(32)),
    ],
    versions="clean",
    depends=lambda settings: {},
    values=_values,
)
