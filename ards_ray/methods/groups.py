"""Methods that take a share of each group of conversations: of each format, or of each folder that images come from."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ards_ray.corpus.formats import FORMATS
from ards_ray.methods.method import Corpus, Method, Ranking, take_best
from ards_ray.methods.random import random_scores, seed_alone
from ards_ray.run.stage import Job


@dataclass(frozen=True)
class Groups:
    """Conversations by group.

    Attributes:
        codes: int32 [conversations], indices into `names`.
        names: Names of the groups.
    """

    codes: np.ndarray
    names: Sequence[str]

    @property
    def counts(self) -> dict[str, int]:
        """Conversations of each group, groups without any left out."""
        counts = np.bincount(self.codes, minlength=len(self.names)).tolist()
        return {name: count for name, count in zip(self.names, counts, strict=True) if count}


def choose_shares(ranking: Ranking, groups: Groups, shares: Mapping[str, int]) -> np.ndarray:
    """The best of each group, as many as its share, bool [conversations]."""
    selected = np.zeros(len(groups.codes), dtype=bool)
    place = {name: index for index, name in enumerate(groups.names)}
    for name, share in shares.items():
        take_best(selected, ranking, groups.codes == place[name], share)
    return selected


@dataclass(frozen=True)
class GroupSettings:
    """How the method groups conversations.

    Args:
        by: By answer format, or by the folder that images come from.
    """

    by: Literal["format", "source"] = "format"


class GroupedMethod(Method):
    """Random conversations of each group, as many as its share."""

    section = GroupSettings

    @abstractmethod
    def shares(self, counts: Mapping[str, int], size: int) -> dict[str, int]:
        """How many conversations each group gives.

        Args:
            counts: Conversations of each group.
            size: Conversations of the mixture, no more than there are.
        """

    def depends(self, job: Job) -> Mapping[str, Any]:
        """See `Method.depends`."""
        return {**seed_alone(job), "by": self.own(job.settings).by}

    def rank(self, corpus: Corpus) -> Ranking:
        """See `Method.rank`."""
        groups = self._groups(corpus)
        everything = np.ones(corpus.size, dtype=bool)
        return Ranking(random_scores(corpus, self.name), everything, groups.codes, groups.names)

    def choose(self, corpus: Corpus, ranking: Ranking, size: int) -> np.ndarray:
        """See `Method.choose`."""
        groups = self._groups(corpus)
        return choose_shares(ranking, groups, self.shares(groups.counts, min(size, corpus.size)))

    def _groups(self, corpus: Corpus) -> Groups:
        if self.own(corpus.job.settings).by == "format":
            return Groups(corpus.formats.astype(np.int32), FORMATS)
        return Groups(*corpus.folders)
