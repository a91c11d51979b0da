"""What the numbers of signals depend on: the contents of their fingerprints."""

from dataclasses import asdict
from typing import Any

from ards_ray.config import Settings
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.run.fingerprint import Inputs
from ards_ray.run.stage import Job
from ards_ray.signals.signal import Signal


def signal_inputs(signal: Signal, job: Job) -> dict[str, Any]:
    """What a signal depends on: the conversations' fingerprint, digests of the checkpoint, and settings."""
    record = job.state.stages.get(CONVERSATIONS.folder)
    return {
        "signal": signal.name,
        "version": signal.version,
        "after": {CONVERSATIONS.folder: record.fingerprint if record else ""},
        "proxy": _proxy(job.settings, job.model, job.adapter),
        "limits": {"positions": job.settings.limits.positions, "pixels": job.settings.limits.pixels},
        "runtime.batch_positions": job.settings.runtime.batch_positions,
        **signal.depends(job.settings),
    }


def _proxy(settings: Settings, model: str, adapter: str | None) -> dict[str, Any]:
    proxy = {name: value for name, value in asdict(settings.proxy).items() if name != "vector"}
    return {**proxy, "model": model, "adapter": adapter}


def comparable(inputs: Inputs) -> dict[str, Any]:
    """Inputs of a signal but for how the corpus is cut, and what changes no more than the last bits."""
    kept = {key: value for key, value in inputs.items() if key not in ("after", "runtime.batch_positions")}
    return kept | {"proxy": {key: value for key, value in inputs["proxy"].items() if key != "device"}}
