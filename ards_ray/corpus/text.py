"""Text as JSON spells it."""

from collections import Counter
from typing import Any


def is_unicode(text: str) -> bool:
    """Whether the text is free of half surrogate pairs, which JSON can spell and Arrow cannot hold."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of its keys and values; a hook for the decoder, which would keep the last of two equal keys.

    Raises:
        ValueError: a key stands there twice; names it.
    """
    record = dict(pairs)
    if len(record) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} stands in an object twice")
    return record
