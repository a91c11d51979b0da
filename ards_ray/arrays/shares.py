"""Shares of a whole number, by largest remainders."""

from collections.abc import Mapping


def largest_remainders(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """Shares of the budget as in the corpus, by largest remainders, equal ones by name; they add up to `size`."""
    total = sum(counts.values())
    shares = {name: size * count // total for name, count in counts.items()}
    rest = size - sum(shares.values())
    # In whole numbers: in floating point equal remainders are not equal.
    for name in sorted(counts, key=lambda name: (-(size * counts[name] % total), name))[:rest]:
        shares[name] += 1
    return shares


def equal_shares(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """Shares that are as equal as the groups allow; what a group cannot fill goes to the others in equal shares.

    Where a rest cannot be shared equally, groups get one more in the order of their names. The shares add up to `size`,
    or to all there are.

    Args:
        counts: Size of each group.
        size: What is shared.
    """
    shares = dict.fromkeys(sorted(counts), 0)
    left = min(size, sum(counts.values()))
    open_groups = list(shares)
    while open_groups:
        each, rest = divmod(left, len(open_groups))
        full = [name for name in open_groups if counts[name] <= each]
        for number, name in enumerate(full or open_groups):
            shares[name] = counts[name] if full else each + (number < rest)
        left -= sum(shares[name] for name in full)
        open_groups = [name for name in open_groups if name not in full] if full else []
    return shares
