"""Full: the whole corpus, whatever the budget."""

import numpy as np

from ards_ray.methods.method import Corpus, Method, Ranking


class Full(Method):
    """What a mixture is compared with: training on everything."""

    name = "full"

    def rank(self, corpus: Corpus) -> Ranking:
        """See `Method.rank`."""
        return Ranking(np.zeros(corpus.size, np.float32), np.ones(corpus.size, dtype=bool))

    def size(self, corpus: Corpus, budget: int) -> int:
        """See `Method.size`."""
        return corpus.size
