"""Fingerprints: what a stage's numbers depend on, and what changed."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

Inputs = Mapping[str, Any]


def fingerprint(inputs: Inputs) -> str:
    """A digest of everything that a stage's numbers depend on."""
    return digest([json.dumps(inputs, sort_keys=True, ensure_ascii=False)])


def digest(lines: Iterable[str]) -> str:
    """A digest of lines of text, in their order."""
    sha = hashlib.sha256()
    for line in lines:
        sha.update(line.encode("utf-8", "surrogatepass"))
        sha.update(b"\n")
    return sha.hexdigest()


def changes(before: Inputs, after: Inputs, prefix: str = "") -> list[str]:
    """What differs, a line for each key: `attacks.noise: true, was false`."""
    lines = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += changes(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: {json.dumps(new)}, was {json.dumps(old)}")
    return lines
