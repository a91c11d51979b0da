"""Manifest entries that are read back: what they must hold, and which files they may name."""

import re
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


def entry_problem(content: Any) -> str | None:
    """What is wrong with the content of a manifest entry; nothing is None."""
    return fields_problem(content, ENTRY)
