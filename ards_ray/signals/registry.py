"""The signals that there are."""

from collections.abc import Mapping

from ards_ray.signals.clean import CLEAN
from ards_ray.signals.corrupted import CORRUPTED
from ards_ray.signals.signal import Signal
from ards_ray.signals.vectors import VECTORS

# In the order in which a pass writes them, and in which failures are told.
SIGNALS: Mapping[str, Signal] = {signal.name: signal for signal in (CLEAN, VECTORS, CORRUPTED)}
