"""Like: random, with as many conversations of each format and source folder as another mixture has."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ards_ray.config import Settings
from ards_ray.corpus.formats import FORMATS
from ards_ray.errors import SettingsError
from ards_ray.methods.groups import Groups, choose_shares
from ards_ray.methods.method import Corpus, Method, Ranking
from ards_ray.methods.random import random_scores, seed_alone
from ards_ray.methods.ranking import mixture_stage, ranking_table
from ards_ray.run.directory import RUN_FILE, RunDirectory
from ards_ray.run.stage import Job
from ards_ray.run.state import RunState
from ards_ray.storage.location import locate


@dataclass(frozen=True)
class LikeSettings:
    """The method like.

    Args:
        run: The mixture whose composition is copied, as RUN/METHOD.
    """

    run: str | None = None


class Like(Method):
    """The control that every claim needs: is it the choice that helps, or only the composition that it has?"""

    name = "like"
    section = LikeSettings

    def resolved(self, settings: Settings) -> Settings:
        """See `Method.resolved`."""
        run = self.own(settings).run
        if run is None:
            raise SettingsError("like.run: not stated; give --like RUN/METHOD")
        return replace(settings, like=LikeSettings(locate(run.rstrip("/")).url))  # type: ignore[call-arg]

    def check(self, job: Job) -> None:
        """See `Method.check`."""
        if self._follows(job):
            return
        run, method = self._named(job)
        if run.url == job.run.url and method == self.name:
            raise SettingsError("like.run: names its own mixture; name that of another method")
        if run.url == job.run.url and method in job.settings.methods:
            raise SettingsError(f"like.run: {method} must be named before {self.name}: --method {method},{self.name}")
        if not run.exists(RUN_FILE):
            raise SettingsError(f"like.run: {run.url} is no run; name a mixture as RUN/METHOD")
        if not _has_mixture(RunState(run), method):
            done = sorted(name.split("/")[1] for name in RunState(run).stages if name.endswith("/mixture"))
            there = f"it has {', '.join(done)}" if done else "it has none yet"
            raise SettingsError(f"like.run: {run.url} has no finished mixture of a method {method!r}; {there}")

    def check_corpus(self, corpus: Corpus) -> None:
        """See `Method.check_corpus`."""
        if not self._follows(corpus.job):
            self._wanted(corpus)

    def depends(self, job: Job) -> Mapping[str, Any]:
        """See `Method.depends`."""
        run, method = self._named(job)
        state = job.state if run.url == job.run.url else RunState(run)
        return {**seed_alone(job), "like": state.stages[mixture_stage(method)].fingerprint}

    def rank(self, corpus: Corpus) -> Ranking:
        """See `Method.rank`."""
        groups = _kinds(corpus)
        everything = np.ones(corpus.size, dtype=bool)
        return Ranking(random_scores(corpus, self.name), everything, groups.codes, groups.names)

    def size(self, corpus: Corpus, budget: int) -> int:
        """See `Method.size`. The other mixture decides, not the budget."""
        return sum(self._wanted(corpus).values())

    def choose(self, corpus: Corpus, ranking: Ranking, size: int) -> np.ndarray:
        """See `Method.choose`."""
        return choose_shares(ranking, _kinds(corpus), self._wanted(corpus))

    def _follows(self, job: Job) -> bool:
        """Whether the other mixture is made by this job, before this one."""
        run, method = self._named(job)
        return run.url == job.run.url and method in job.settings.methods[: job.settings.methods.index(self.name)]

    def _named(self, job: Job) -> tuple[RunDirectory, str]:
        """The run and the method that the setting names."""
        folder, _, method = str(self.own(job.settings).run).rpartition("/")
        return RunDirectory(folder.removesuffix("/methods")), method

    def _wanted(self, corpus: Corpus) -> dict[str, int]:
        """Conversations of each format and source folder in the other mixture.

        Raises:
            SettingsError: the corpus has fewer of a kind.
        """
        run, method = self._named(corpus.job)
        job = corpus.job
        other = corpus if run.url == job.run.url else Corpus(replace(job, run=run, state=RunState(run)), ())
        groups = _kinds(other)
        counts: Counter[str] = Counter()
        table = ranking_table(method)
        for part in table.parts(run):
            columns = run.read_table(part.path, ["row", "selected"])
            rows = columns["row"].to_numpy()[columns["selected"].to_numpy()]
            counts.update(groups.names[code] for code in groups.codes[rows].tolist())
        there = _kinds(corpus).counts
        for name, count in counts.items():
            if there.get(name, 0) < count:
                raise SettingsError(
                    f"like.run: {self.own(job.settings).run} has {count:,} conversations of {name}, and this corpus "
                    f"has {there.get(name, 0):,}; name a mixture of the same corpus"
                )
        return dict(sorted(counts.items()))


def _has_mixture(state: RunState, method: str) -> bool:
    record = state.stages.get(mixture_stage(method))
    return record is not None and record.complete


def _kinds(corpus: Corpus) -> Groups:
    """Conversations by format and source folder."""
    codes, folders = corpus.folders
    names = [f"{format} in {folder}" for format in FORMATS for folder in folders]
    return Groups(corpus.formats.astype(np.int32) * len(folders) + codes, names)
