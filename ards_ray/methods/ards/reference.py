"""The subgroups of a finished run, taken over to score another corpus against them."""

from dataclasses import asdict
from time import monotonic
from typing import Any

import yaml

from ards_ray.errors import SettingsError
from ards_ray.methods.ards.clusters import (
    CLUSTERS_FOLDER,
    assign_all,
    read_center,
    read_centroids,
    write_center,
    write_centroids,
)
from ards_ray.methods.ards.subgroups import MEMBERS, SUBGROUPS, SUBGROUPS_FOLDER
from ards_ray.run.directory import CONFIG_FILE, RUN_FILE, RunDirectory
from ards_ray.run.fingerprint import changes
from ards_ray.run.stage import Job, is_current
from ards_ray.run.state import RunState
from ards_ray.run.table import NoDetails
from ards_ray.signals.inputs import comparable, signal_inputs
from ards_ray.signals.vectors import VECTORS

_SHARED = {
    "proxy": ("model", "adapter", "dtype", "vector"),
    "vectors": ("center",),
    "score": ("aggregate", "similarity", "temperature"),
    "limits": ("positions", "pixels"),
}


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


def reference_stamp(job: Job) -> str:
    """The fingerprint of the subgroups of the run that `subgroups.run` names.

    Raises:
        SettingsError: the run is not finished, or its scores are not comparable: another proxy, other limits, other
            vectors or weights.
    """
    settings = job.settings
    source = RunDirectory(str(settings.subgroups.run))
    if source.url == job.run.url:
        raise SettingsError(f"subgroups.run: {source.url} is the output itself; name another output")
    if not source.exists(RUN_FILE):
        raise SettingsError(f"subgroups.run: {source.url} is no run")
    state = RunState(source)
    if not is_current(source, state, SUBGROUPS_FOLDER):
        raise SettingsError(f"subgroups.run: {source.url} has no subgroups yet; finish it first")
    before = {
        **comparable(state.stages[VECTORS.stage].inputs),
        "vectors": state.stages[CLUSTERS_FOLDER].inputs["vectors"],
        "score.temperature": state.stages[SUBGROUPS_FOLDER].inputs["score.temperature"],
    }
    now = {
        **comparable(signal_inputs(VECTORS, job)),
        "vectors": asdict(settings.vectors),
        "score.temperature": settings.score.temperature,
    }
    if differences := changes(before, now):
        raise SettingsError(
            f"subgroups.run: scores against the subgroups of {source.url} would mean nothing:\n  "
            + "\n  ".join(differences)
        )
    return state.stages[SUBGROUPS_FOLDER].fingerprint


def take_clusters(job: Job, stage: str) -> None:
    """Take over centroids and centre, and find the cluster of every conversation."""
    started = monotonic()
    run, source = job.run, RunDirectory(str(job.settings.subgroups.run))
    centroids, center = read_centroids(source), read_center(source, job.settings)
    parts = VECTORS.table.parts(run)
    if center is not None:
        write_center(run, center, stage, started)
    write_centroids(run, centroids, parts[0].details.width, stage, started)
    with job.progress("clusters", len(parts)) as progress:
        assign_all(job, stage, centroids, center, progress)


def take_subgroups(job: Job, stage: str) -> None:
    """Take over the subgroups and their members, whose rows are those of the other corpus."""
    source = RunDirectory(str(job.settings.subgroups.run))
    for table in (MEMBERS, SUBGROUPS):
        started = monotonic()
        table.write(job.run, table.name, table.read(source, table.name), stage, started, NoDetails())
