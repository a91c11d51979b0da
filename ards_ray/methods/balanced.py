"""Balanced: random within each group, and of each group as many as of any other."""

from collections.abc import Mapping

from ards_ray.arrays.shares import equal_shares
from ards_ray.methods.groups import GroupedMethod


class Balanced(GroupedMethod):
    """Equal shares; what a small group cannot fill goes to the others in equal shares."""

    name = "balanced"

    def shares(self, counts: Mapping[str, int], size: int) -> dict[str, int]:
        """See `GroupedMethod.shares`."""
        return equal_shares(counts, size)
