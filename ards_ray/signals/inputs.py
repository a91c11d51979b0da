"""What the numbers of each stage depend on: the contents of its fingerprint."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ards_ray.config import Settings
from ards_ray.run.directory import Part
from ards_ray.run.fingerprint import Inputs, digest
from ards_ray.run.state import RunState

# Raised when a stage's code changes its numbers.
VERSIONS = {"conversations": 3, "signals": 3, "clusters": 1, "subgroups": 1, "scores": 1, "mixture": 1}


def conversations_inputs(settings: Settings, corpus: Sequence[str]) -> dict[str, Any]:
    """Inputs of the conversations stage; `corpus` holds a digest of each corpus file."""
    return {
        "version": VERSIONS["conversations"],
        "corpus.files": list(corpus),
        "runtime.shard_size": settings.runtime.shard_size,
    }


def signals_inputs(settings: Settings, conversations: str, model: str, adapter: str | None) -> dict[str, Any]:
    """Inputs of the signals stage: the conversations' fingerprint, digests of the checkpoint and the settings."""
    proxy = asdict(settings.proxy)
    return {
        "version": VERSIONS["signals"],
        "conversations": conversations,
        "proxy": {**proxy, "model": model, "adapter": adapter},
        "attacks": asdict(settings.attacks),
        "limits": {"positions": settings.limits.positions, "pixels": settings.limits.pixels},
        "runtime.batch_positions": settings.runtime.batch_positions,
        "seed": settings.seed,
    }


def comparable(inputs: Inputs) -> dict[str, Any]:
    """Inputs of the signals stage but for how the corpus is cut, and what changes no more than the last bits."""
    kept = {key: value for key, value in inputs.items() if key not in ("conversations", "runtime.batch_positions")}
    return kept | {"proxy": {key: value for key, value in inputs["proxy"].items() if key != "device"}}


def signals_digest(signals: Sequence[Part]) -> str:
    """A digest of the signals as they are, which scoring failed rows again changes."""
    return digest(f"{part.path} {part.sha256}" for part in signals)


def clusters_inputs(settings: Settings, signals: Sequence[Part], reference: str | None) -> dict[str, Any]:
    """Inputs of the clusters stage; `reference` is the fingerprint of subgroups that are taken over."""
    if reference is not None:
        return {
            "version": VERSIONS["clusters"],
            "signals": signals_digest(signals),
            "reference": reference,
            "vectors": asdict(settings.vectors),
        }
    return {
        "version": VERSIONS["clusters"],
        "signals": signals_digest(signals),
        "subgroups": {
            "cluster": settings.subgroups.cluster,
            "perturb": settings.subgroups.perturb,
            "per_format": settings.subgroups.per_format,
        },
        "vectors": asdict(settings.vectors),
        "seed": settings.seed,
    }


def subgroups_inputs(settings: Settings, clusters: str) -> dict[str, Any]:
    own = {name: value for name, value in asdict(settings.subgroups).items() if name != "run"}
    return {
        "version": VERSIONS["subgroups"],
        "clusters": clusters,
        "subgroups": own if settings.subgroups.run is None else {},
        "score.temperature": settings.score.temperature,
    }


def scores_inputs(settings: Settings, subgroups: str) -> dict[str, Any]:
    return {"version": VERSIONS["scores"], "subgroups": subgroups, "score": asdict(settings.score)}


def mixture_inputs(settings: Settings, scores: str) -> dict[str, Any]:
    return {"version": VERSIONS["mixture"], "scores": scores, "mixture": asdict(settings.mixture)}


# What each stage was made of, by the name under which its inputs tell it.
_BEFORE = {"signals": "conversations", "subgroups": "clusters", "scores": "subgroups", "mixture": "scores"}


def is_current(state: RunState, signals: Sequence[Part], stage: str) -> bool:
    """Whether a stage is complete and was made of what the stages before it are now; `signals` are the run's parts."""
    record = state.stages.get(stage)
    if record is None or not record.complete:
        return False
    if stage == "clusters":
        return record.inputs.get("signals") == signals_digest(signals) and is_current(state, signals, "signals")
    before = _BEFORE.get(stage)
    return before is None or (
        is_current(state, signals, before) and record.inputs.get(before) == state.stages[before].fingerprint
    )
