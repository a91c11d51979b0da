"""Manifest entries that are read back: what they must hold, and which files they may name."""

import re
from collections.abc import Mapping
from typing import Any

from ards_ray.run.fields import fields_problem

# All that is ever recorded. What an entry names is read and deleted, and the run may come from elsewhere.
PATHS = re.compile(
    r"(conversations|answers)/part-\d{5,7}\.parquet"
    r"|(signals|methods)(/[a-z][a-z0-9-]*){1,3}\.(parquet|json|jsonl)"
    r"|failures\.jsonl|answers\.parquet",
    re.ASCII,
)
ENTRY = {
    "path": str,
    "rows": int,
    "bytes": int,
    "sha256": str,
    "fingerprint": str,
    "seconds": int | float,
    "details": dict,
    "vectors": list,
}
# What `details` hold, by how the path begins; nothing is read of those of other files.
_DETAILS: Mapping[str, Mapping[str, type]] = {
    "conversations/": {"formats": dict},
    "signals/": {
        **dict.fromkeys(("ok", "failed", "splits", "taken", "width"), int),
        **dict.fromkeys(("reasons", "formats", "scored", "attacked"), dict),
        "images": str,
    },
    "failures.jsonl": {"reasons": dict},
}


def entry_problem(content: Any) -> str | None:
    """What is wrong with the content of a manifest entry; nothing is None."""
    if problem := fields_problem(content, ENTRY):
        return problem
    wanted = [kinds for beginning, kinds in _DETAILS.items() if content["path"].startswith(beginning)]
    return fields_problem(content["details"], wanted[0]) if wanted else None
