"""ARDS: the conversations most alike to those whose loss moves most under attack."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ards_ray.config import Settings
from ards_ray.corpus.columns import read_by_row
from ards_ray.corpus.formats import FORMATS
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.corruption.attack import attack_on
from ards_ray.errors import SettingsError
from ards_ray.methods.ards.candidates import (
    CANDIDATES,
    CANDIDATES_FOLDER,
    CORRUPTIBLE,
    CORRUPTIBLE_FOLDER,
    corruptible_formats,
    write_candidates,
    write_corruptible,
)
from ards_ray.methods.ards.clusters import (
    CENTER,
    CENTROIDS,
    CLUSTERS,
    CLUSTERS_FOLDER,
    asks_corrupted,
    clusters_of_formats,
    draws_candidates,
    total,
    write_clusters,
)
from ards_ray.methods.ards.names import WHOLE_CORPUS, subgroup_name
from ards_ray.methods.ards.reference import reference_stamp, take_clusters, take_subgroups
from ards_ray.methods.ards.scores import SCORES, SCORES_FOLDER, write_scores
from ards_ray.methods.ards.similarity import mean_cosines
from ards_ray.methods.ards.subgroups import (
    MEMBERS,
    SUBGROUPS,
    SUBGROUPS_FOLDER,
    write_subgroups,
)
from ards_ray.methods.method import Corpus, Counts, Method, Ranking
from ards_ray.run.directory import RunDirectory
from ards_ray.run.stage import Job, Stage
from ards_ray.signals.corrupted import CORRUPTED
from ards_ray.signals.registry import SIGNALS


class Ards(Method):
    """ARDS (NeurIPS 2025). Its settings are the sections attacks, subgroups, vectors and score."""

    name = "ards"
    tables = (CORRUPTIBLE, CLUSTERS, CENTROIDS, CENTER, CANDIDATES, SUBGROUPS, MEMBERS, SCORES)

    def signals(self, settings: Settings) -> Sequence[str]:
        """See `Method.signals`."""
        return ("clean", "vectors", "corrupted") if asks_corrupted(settings) else ("clean", "vectors")

    def signals_of_some(self, settings: Settings) -> Sequence[str]:
        """See `Method.signals_of_some`."""
        return ("corrupted",) if draws_candidates(settings) else ()

    def reads(self, settings: Settings, counts: Counts) -> dict[str, int]:
        """See `Method.reads`."""
        found = super().reads(settings, counts)
        drawn = settings.subgroups.candidates
        if draws_candidates(settings) and drawn != "all":
            clusters = clusters_of_formats(counts.formats, counts.corruptible, settings)
            most = {name: k * drawn for name, k in clusters.items()}
            of_formats = (min(counts.corruptible[name], count) for name, count in most.items())
            whole = min(sum(counts.corruptible.values()), drawn)
            found["corrupted"] = sum(of_formats) if settings.subgroups.cluster else whole
        return found

    def check(self, job: Job) -> None:
        """See `Method.check`."""
        if job.settings.subgroups.run is not None:
            reference_stamp(job)

    def check_corpus(self, corpus: Corpus) -> None:
        """See `Method.check_corpus`."""
        if corpus.job.settings.subgroups.run is None and not _can_have_subgroups(corpus):
            raise SettingsError(
                "ards: nothing in this corpus can be corrupted with these attacks, so there is no worst case to "
                "select for; see attacks.symbol, attacks.permutation, attacks.noise"
            )

    def stages(self, job: Job) -> Sequence[Stage]:
        """See `Method.stages`."""
        settings = job.settings
        signals = [SIGNALS[name].stage for name in self.signals(settings)]
        subgroups = settings.subgroups
        if subgroups.run is not None:
            extra = {"reference": reference_stamp(job)}
            clusters = Stage(CLUSTERS_FOLDER, 1, signals, _vectors, take_clusters, extra=extra)
            chosen = Stage(SUBGROUPS_FOLDER, 1, [CLUSTERS_FOLDER], _temperature, take_subgroups)
            return [clusters, chosen, _SCORES]
        if not draws_candidates(settings):
            return [
                Stage(CLUSTERS_FOLDER, 1, signals, _of_clusters, _write_clusters),
                Stage(SUBGROUPS_FOLDER, 1, [CLUSTERS_FOLDER], _of_subgroups, write_subgroups),
                _SCORES,
            ]
        return [
            Stage(CORRUPTIBLE_FOLDER, 1, [CONVERSATIONS.folder], CORRUPTED.depends, write_corruptible),
            Stage(CLUSTERS_FOLDER, 1, [*signals, CORRUPTIBLE_FOLDER], _of_clusters, _write_clusters),
            Stage(
                CANDIDATES_FOLDER,
                1,
                [CLUSTERS_FOLDER],
                lambda settings: {"subgroups.candidates": settings.subgroups.candidates, "seed": settings.seed},
                write_candidates,
                completes=[CORRUPTED.stage],
            ),
            Stage(SUBGROUPS_FOLDER, 1, [CANDIDATES_FOLDER, CORRUPTED.stage], _of_subgroups, write_subgroups),
            _SCORES,
        ]

    def rank(self, corpus: Corpus) -> Ranking:
        """See `Method.rank`."""
        run, settings = corpus.job.run, corpus.job.settings
        score = read_by_row(run, SCORES, ["score"], corpus.size)["score"]
        columns = read_by_row(run, CLUSTERS, ["format", "cluster"], corpus.size)
        eligible = ~corpus.failed
        if settings.mixture.exclude_members:
            eligible &= ~self._members(corpus)
        names = SUBGROUPS.read(run, SUBGROUPS.name, ["subgroup"])["subgroup"].to_pylist()
        of_cluster = _subgroup_of_cluster(names, int(columns["cluster"].max(initial=-1)) + 1)
        return Ranking(score, eligible, of_cluster[columns["format"], columns["cluster"]], names)

    def summary(self, corpus: Corpus, ranking: Ranking) -> dict[str, Any]:
        """See `Method.summary`."""
        run = corpus.job.run
        columns = ["subgroup", "format", "size", "members", "loss", "weight"]
        return {
            "members": int(self._members(corpus).sum()),
            "subgroups": SUBGROUPS.read(run, SUBGROUPS.name, columns).to_pylist(),
            "mean_cosine": mean_cosines(run, corpus.job.settings),
        }

    def problems(self, run: RunDirectory, summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See `Method.problems`."""
        columns = SUBGROUPS.read(run, SUBGROUPS.name, ["weight", "members"])
        total = columns["weight"].to_numpy().sum()
        if abs(total - 1) > 1e-9:
            yield SUBGROUPS.path(SUBGROUPS.name), f"the weights add up to {total:.9f}, not to 1"
        members = MEMBERS.read(run, MEMBERS.name, ["row"]).num_rows
        if sum(columns["members"].to_pylist()) != members:
            yield SUBGROUPS.path(SUBGROUPS.name), f"its subgroups do not have the {members:,} members of the table"

    def _members(self, corpus: Corpus) -> np.ndarray:
        """Which conversations are members of subgroups, bool [conversations]."""
        members = np.zeros(corpus.size, dtype=bool)
        if corpus.job.settings.subgroups.run is None:
            members[MEMBERS.read(corpus.job.run, MEMBERS.name, ["row"])["row"].to_numpy()] = True
        return members


def _vectors(settings: Settings) -> Mapping[str, Any]:
    return {"vectors": asdict(settings.vectors)}


def _of_clusters(settings: Settings) -> Mapping[str, Any]:
    names = ("cluster", "perturb", "per_format")
    own = {name: value for name, value in asdict(settings.subgroups).items() if name in names}
    return {**_vectors(settings), "subgroups": own, "seed": settings.seed}


def _temperature(settings: Settings) -> Mapping[str, Any]:
    return {"score.temperature": settings.score.temperature}


def _of_subgroups(settings: Settings) -> Mapping[str, Any]:
    own = {name: value for name, value in asdict(settings.subgroups).items() if name != "run"}
    return {**_temperature(settings), "subgroups": own}


_SCORES = Stage(SCORES_FOLDER, 1, [SUBGROUPS_FOLDER], lambda settings: {"score": asdict(settings.score)}, write_scores)


def _write_clusters(job: Job, stage: str) -> None:
    drawn = draws_candidates(job.settings)
    write_clusters(job, stage, corruptible_formats(job.run) if drawn else total(CORRUPTED.table.parts(job.run)))


def _can_have_subgroups(corpus: Corpus) -> bool:
    """Whether some format may have a subgroup: three conversations of it, one of which can be corrupted.

    Stops at the first, so it costs next to nothing on a corpus that is all right.
    """
    run, settings = corpus.job.run, corpus.job.settings
    formats = {name for name, count in corpus.counts.items() if count >= 3}
    if not settings.subgroups.perturb:
        return bool(formats - {"text"})
    return any(
        attack_on(entry, settings) is not None
        for part in CONVERSATIONS.parts(run)
        if formats & part.details.formats.keys()
        for entry in run.read_table(part.path).to_pylist()
        if entry["format"] in formats
    )


def _subgroup_of_cluster(names: Sequence[str], clusters: int) -> np.ndarray:
    """The index of the subgroup of each format and cluster, int32 [formats + 1, clusters + 1]; -1 where there is none.

    The last row and the last column are those of conversations without a vector and without a cluster.
    """
    found = np.full((len(FORMATS) + 1, clusters + 1), -1, dtype=np.int32)
    if names == [WHOLE_CORPUS]:
        found[:-1] = 0
        return found
    place = {name: index for index, name in enumerate(names)}
    for code, format in enumerate(FORMATS):
        for cluster in range(clusters):
            found[code, cluster] = place.get(subgroup_name(format, cluster), -1)
    return found
