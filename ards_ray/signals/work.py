"""What is computed in one pass of the model over shards."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ards_ray.config import Settings
from ards_ray.signals.reuse import Earlier


@dataclass(frozen=True)
class SignalWork:
    """What the processes of a pass share.

    Attributes:
        output: The run.
        settings: Its settings, nothing `auto` in them.
        model: Digest of the checkpoint.
        stamps: Fingerprints of the signals that are computed, by name.
        generations: Their generations (`StageRecord`), where they are not the first.
        some_rows: Only some rows of the shards are asked for, so that parts may lack the others.
        images: Some image paths of the corpus that exist.
        earlier: What another run has computed.
    """

    output: str
    settings: Settings
    model: str
    stamps: Mapping[str, str] = field(default_factory=dict)
    generations: Mapping[str, int] = field(default_factory=dict)
    some_rows: bool = False
    images: tuple[str, ...] = ()
    earlier: Earlier | None = None
