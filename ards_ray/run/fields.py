"""Whether JSON that was read back holds what it was written with: files are cut, edited, and come from elsewhere."""

from collections.abc import Mapping
from types import UnionType
from typing import Any


def fields_problem(content: Any, kinds: Mapping[str, type | UnionType]) -> str | None:
    """What is wrong with an object that must hold some keys with values of some kinds; nothing is None."""
    if not isinstance(content, dict):
        return "it is no object"
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):
            return f"{key!r} is missing or of the wrong type"
    return None
