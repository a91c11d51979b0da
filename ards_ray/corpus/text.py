"""Text as JSON spells it."""

import json
import math
import re
from collections import Counter
from typing import Any

BOM = "\ufeff"
BOM_INSIDE = "a byte order mark inside the file, as where files were put together; remove it"
# Characters that the decoder may need to see behind a position before it can tell an error from missing text.
LONGEST_TOKEN = 64

_NOT_ZERO = re.compile(r"[-0.]*[1-9]")


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


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:LONGEST_TOKEN]} is too large for a number; it would become infinity")
    if not value and _NOT_ZERO.match(text):
        raise ValueError(f"{text[:LONGEST_TOKEN]} is too small for a number; it would become zero")
    return value


DECODER = json.JSONDecoder(parse_float=_finite, object_pairs_hook=unique_keys)
