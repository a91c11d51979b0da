"""The subgroups of a finished run, taken over to score another corpus against them."""

from dataclasses import asdict
from time import monotonic
from typing import Any

import numpy as np
import yaml

from ards_ray.config import AttackSettings, Settings
from ards_ray.errors import SettingsError
from ards_ray.methods.ards.clusters import read_center, read_centroids, write_center, write_centroids
from ards_ray.methods.ards.subgroups import MEMBERS, SUBGROUPS
from ards_ray.run.directory import CONFIG_FILE, RUN_FILE, RunDirectory
from ards_ray.run.fingerprint import Inputs, changes
from ards_ray.run.state import RunState
from ards_ray.signals.inputs import comparable, is_current

_SHARED = {
    "proxy": ("model", "adapter", "dtype", "vector"),
    "vectors": ("center",),
    "score": ("aggregate", "similarity", "temperature"),
    "limits": ("positions", "pixels"),
}
# Clean losses and vectors alone: what is scored against subgroups needs no worst case of its own.
NO_ATTACKS = AttackSettings(symbol=False, permutation=False, noise=False)


def shared_settings(source: RunDirectory) -> dict[str, Any]:
    """What a corpus must share with the run whose subgroups it is scored against, by the keys of settings.

    Raises:
        SettingsError: it is no run, or its settings cannot be read.
    """
    if not source.exists(CONFIG_FILE):
        raise SettingsError(f"subgroups.run: no run is at {source.url}")
    try:
        values = yaml.safe_load(source.read_bytes(CONFIG_FILE))
        return {f"{section}.{key}": values[section][key] for section, keys in _SHARED.items() for key in keys}
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise SettingsError(f"{source.url}/{CONFIG_FILE}: not the settings of a run ({error})") from error


def reference_stamp(source: RunDirectory, settings: Settings, signals_inputs: Inputs) -> str:
    """The fingerprint of a run's subgroups.

    Args:
        source: The run that they come from.
        settings: The settings of the run that they are for.
        signals_inputs: What its signals depend on.

    Raises:
        SettingsError: the run is not finished, or its scores are not comparable: another proxy, other limits, other
            vectors or weights.
    """
    if not source.exists(RUN_FILE):
        raise SettingsError(f"subgroups.run: {source.url} is no run")
    state = RunState(source)
    stages = state.stages
    if not is_current(state, source.parts("signals"), "subgroups"):
        raise SettingsError(f"subgroups.run: {source.url} has no subgroups yet; finish it first")
    before = {
        **_of_vectors(stages["signals"].inputs),
        "vectors": stages["clusters"].inputs["vectors"],
        "score.temperature": stages["subgroups"].inputs["score.temperature"],
    }
    now = {
        **_of_vectors(signals_inputs),
        "vectors": asdict(settings.vectors),
        "score.temperature": settings.score.temperature,
    }
    if differences := changes(before, now):
        raise SettingsError(
            f"subgroups.run: scores against the subgroups of {source.url} would mean nothing:\n  "
            + "\n  ".join(differences)
        )
    return stages["subgroups"].fingerprint


def _of_vectors(inputs: Inputs) -> dict[str, Any]:
    """What of the signals' inputs conversation vectors depend on."""
    return {key: value for key, value in comparable(inputs).items() if key in ("version", "proxy", "limits")}


def take_clusters(
    source: RunDirectory, run: RunDirectory, settings: Settings, width: int, stage: str
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Take over the centroids, float32 [k, d] for each format, and the centre, float32 [d]."""
    started = monotonic()
    centroids, center = read_centroids(source), read_center(source, settings)
    if center is not None:
        write_center(run, center, stage, started)
    write_centroids(run, centroids, width, stage, started)
    return centroids, center


def take_subgroups(source: RunDirectory, run: RunDirectory, stage: str) -> None:
    """Take over the subgroups and their members, whose rows are those of the other corpus."""
    for path in (MEMBERS, SUBGROUPS):
        started = monotonic()
        run.write_table(path, source.read_table(path), stage, started)
