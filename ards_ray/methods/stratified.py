"""Stratified: random within each group, and of each group the share that it has in the corpus."""

from collections.abc import Mapping

from ards_ray.arrays.shares import largest_remainders
from ards_ray.methods.groups import GroupedMethod


class Stratified(GroupedMethod):
    """Random without the luck of the draw between groups."""

    name = "stratified"

    def shares(self, counts: Mapping[str, int], size: int) -> dict[str, int]:
        """See `GroupedMethod.shares`."""
        return largest_remainders(counts, size)
