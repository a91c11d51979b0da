"""Random: every conversation has the same chance."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ards_ray.arrays.seeds import generator
from ards_ray.methods.method import Corpus, Method, Ranking
from ards_ray.run.stage import Job


def random_scores(corpus: Corpus, name: str) -> np.ndarray:
    """Seeded scores between 0 and 1, float32 [conversations], of a method of its own."""
    return generator(corpus.job.settings.seed, "method", name.encode()).random(corpus.size, dtype=np.float32)


def seed_alone(job: Job) -> Mapping[str, Any]:
    """What a random choice depends on."""
    return {"seed": job.settings.seed}


class Random(Method):
    """The baseline of every comparison."""

    name = "random"

    def depends(self, job: Job) -> Mapping[str, Any]:
        """See `Method.depends`."""
        return seed_alone(job)

    def rank(self, corpus: Corpus) -> Ranking:
        """See `Method.rank`."""
        return Ranking(random_scores(corpus, self.name), np.ones(corpus.size, dtype=bool))
