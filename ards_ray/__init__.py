"""Robust training mixtures for multimodal models: ARDS as a distributed Ray Data job.

from ards_ray import EvaluationSettings, Settings, evaluate, select
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ards_ray.config import Settings as Settings
    from ards_ray.evaluation.settings import EvaluationSettings as EvaluationSettings
    from ards_ray.jobs.evaluate import evaluate as evaluate
    from ards_ray.jobs.select import Mixture as Mixture
    from ards_ray.jobs.select import Selected as Selected
    from ards_ray.jobs.select import select as select
    from ards_ray.report.evaluation import Evaluated as Evaluated

__version__ = "0.1.0"
__all__ = ["Evaluated", "EvaluationSettings", "Mixture", "Selected", "Settings", "evaluate", "select"]

# Imported late: the console script's help does not wait for torch.
_MODULES = {
    "Evaluated": "report.evaluation",
    "EvaluationSettings": "evaluation.settings",
    "Selected": "jobs.select",
    "Mixture": "jobs.select",
    "Settings": "methods.registry",
    "evaluate": "jobs.evaluate",
    "select": "jobs.select",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
