"""Shares of a budget: exact, and as fair as whole numbers allow."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ards_ray.arrays.shares import equal_shares, largest_remainders

counts = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 60), min_size=1, max_size=8)


@given(counts, st.integers(0, 500))
def test_equal_shares(groups: dict[str, int], size: int) -> None:
    """One too many and the mixture misses its budget; a group beyond its size has conversations that do not exist."""
    shares = equal_shares(groups, size)
    assert shares.keys() == groups.keys()
    assert sum(shares.values()) == min(size, sum(groups.values()))
    assert all(0 <= shares[name] <= groups[name] for name in groups)
    # As equal as possible: only who has given everything may have less than another, but for the rest of a division.
    most = max(shares.values())
    assert all(shares[name] >= most - 1 for name in groups if shares[name] < groups[name])
    # The rest goes to the first names.
    below = [name for name in sorted(groups) if shares[name] < min(most, groups[name])]
    above = [name for name in sorted(groups) if shares[name] == most and groups[name] >= most]
    assert not below or above[-1] < below[0]


@given(counts.filter(lambda groups: sum(groups.values()) > 0), st.data())
def test_largest_remainders(groups: dict[str, int], data: st.DataObject) -> None:
    """Hamilton's method, in exact fractions: within one of the exact share, the largest remainders rounded up."""
    total = sum(groups.values())
    size = data.draw(st.integers(0, total))
    shares = largest_remainders(groups, size)
    assert sum(shares.values()) == size
    assert all(shares[name] <= groups[name] for name in groups)
    exact = {name: Fraction(size * count, total) for name, count in groups.items()}
    left = size - sum(int(share) for share in exact.values())
    order = sorted(groups, key=lambda name: (int(exact[name]) - exact[name], name))
    assert shares == {name: int(exact[name]) + (name in order[:left]) for name in groups}
