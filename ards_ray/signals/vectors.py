"""Conversation vectors."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ards_ray.signals.signal import Scores, Signal


def _values(scores: Scores) -> Mapping[str, Any]:
    assert scores.clean is not None
    return {"vector": scores.clean.vector}


VECTORS = Signal(
    name="vectors",
    version=1,
    columns=lambda width: [pa.field("vector", pa.list_(pa.float16(), width))],
    versions="clean",
    depends=lambda settings: {"proxy.vector": settings.proxy.vector},
    values=_values,
    has_vectors=True,
)
