"""Robust training mixtures for multimodal models: ARDS as a distributed Ray Data job.

from ards_ray import Settings, select
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ards_ray.config import Settings as Settings
    from ards_ray.jobs.select import Mixture as Mixture
    from ards_ray.jobs.select import Selected as Selected
    from ards_ray.jobs.select import select as select

__version__ = "0.1.0"
__all__ = ["Mixture", "Selected", "Settings", "select"]


def __getattr__(name: str) -> Any:
    # Imported late: the console script's help does not wait for torch.
    if name == "Settings":
        from ards_ray.methods.registry import Settings

        return Settings
    if name in ("Mixture", "Selected", "select"):
        from ards_ray.jobs import select

        return getattr(select, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
