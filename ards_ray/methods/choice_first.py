"""Choice first: all multiple choice, then random conversations."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ards_ray.corpus.formats import FORMATS
from ards_ray.methods.method import Corpus, Method, Ranking, take_best
from ards_ray.methods.random import random_scores, seed_alone
from ards_ray.run.stage import Job


class ChoiceFirst(Method):
    """The control for "it only takes more multiple choice": as much of it as the budget holds."""

    name = "choice-first"

    def depends(self, job: Job) -> Mapping[str, Any]:
        """See `Method.depends`."""
        return seed_alone(job)

    def rank(self, corpus: Corpus) -> Ranking:
        """See `Method.rank`."""
        return Ranking(random_scores(corpus, self.name), np.ones(corpus.size, dtype=bool), corpus.formats, FORMATS)

    def choose(self, corpus: Corpus, ranking: Ranking, size: int) -> np.ndarray:
        """See `Method.choose`."""
        selected = np.zeros(corpus.size, dtype=bool)
        take_best(selected, ranking, corpus.formats == FORMATS.index("choice"), size)
        take_best(selected, ranking, ~selected, size - int(selected.sum()))
        return selected
