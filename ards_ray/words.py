"""Words of messages."""

from collections.abc import Sequence
from difflib import SequenceMatcher

# Below this a name is not like another.
_LIKE = 0.6


def either(words: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that is most like another, as a whole or after its last dot."""

    def likeness(other: str) -> tuple[float, float]:
        whole = SequenceMatcher(None, name.lower(), other).ratio()
        last = SequenceMatcher(None, name.lower().rpartition(".")[2], other.rpartition(".")[2]).ratio()
        return max(whole, last), whole

    best = max(known, key=likeness)
    return best if likeness(best)[0] >= _LIKE else None
