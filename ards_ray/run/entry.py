"""Entries of the manifest: what they tell of a finished file, and what is checked when they are read back."""

import posixpath
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ards_ray.run.fields import fields_problem

Details = TypeVar("Details")

# All that is ever recorded. What an entry names is read and deleted, and the run may come from elsewhere.
PATHS = re.compile(
    r"(conversations|answers)/part-\d{5,7}\.parquet"
    r"|(signals|methods)(/[a-z][a-z0-9-]*){1,3}\.parquet"
    r"|methods/[a-z][a-z0-9-]*/mixture\.[a-z][a-z0-9-]*"
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
    "finished": int | float,
    "details": dict,
    "vectors": list,
}


@dataclass(frozen=True, slots=True)
class Part(Generic[Details]):
    """A finished file of the run, as its manifest entry tells.

    Attributes:
        path: Path under the run directory.
        rows: Rows of a table's part, records of another file.
        bytes: Size of the file.
        sha256: Checksum of the file.
        fingerprint: Fingerprint of the stage that wrote it.
        seconds: What it took to make.
        finished: When it was finished, in seconds since 1970.
        details: Counts of the part that later stages need without opening it.
        vectors: For each row group the byte of the file from which the numbers of its column `vector` follow one
            another, those of null rows left out; empty where they do not.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    fingerprint: str
    seconds: float
    finished: float
    details: Details
    vectors: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The file's name without folder and ending, the same for the parts of one shard in all tables."""
        return posixpath.basename(self.path).rsplit(".", 1)[0]

    @property
    def table(self) -> str:
        """The folder of the file's table; empty for a file at the top."""
        return posixpath.dirname(self.path)

    def size_problem(self, size: int | None) -> str | None:
        """What is wrong with a file of so many bytes in the part's place, None for no file; nothing is None."""
        if size is None:
            return "missing"
        return None if size == self.bytes else f"{size:,} bytes, and the manifest says {self.bytes:,}"


def entry_problem(content: Any) -> str | None:
    """What is wrong with the content of a manifest entry; nothing is None."""
    return fields_problem(content, ENTRY)


def part_of(content: Mapping[str, Any]) -> "Part[Any]":
    """The part that an entry without problems tells of."""
    values = {key: content[key] for key in ENTRY}
    # The same for all parts of a stage, of which there may be 40,000.
    values["fingerprint"] = sys.intern(values["fingerprint"])
    return Part(**values)


def entry_of(part: "Part[Any]") -> dict[str, Any]:
    """The entry that tells of a part."""
    return {key: getattr(part, key) for key in ENTRY}
