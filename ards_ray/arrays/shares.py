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
