"""Shares of a whole number, by largest remainders."""

from collections.abc import Mapping


def largest_remainders(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """Shares of the budget as in the corpus, by largest remainders, equal ones by name; they add up to `size`."""
    total = sum(counts.values())
    exact = {name: size * count / total for name, count in counts.items()}
    shares = {name: int(share) for name, share in exact.items()}
    rest = size - sum(shares.values())
    for name in sorted(exact, key=lambda name: (shares[name] - exact[name], name))[:rest]:
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
    while left:
        open_groups = [name for name in shares if shares[name] < counts[name]]
        each, rest = divmod(left, len(open_groups))
        for number, name in enumerate(open_groups):
            more = min(each + (number < rest), counts[name] - shares[name])
            shares[name] += more
            left -= more
    return shares
