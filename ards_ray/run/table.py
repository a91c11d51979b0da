"""Tables of a run: each is declared once, with its folder, its schema and what the manifest notes of its parts."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Generic, TypeVar, get_origin

import pyarrow as pa

from ards_ray.errors import ArdsError
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.run.fields import fields_problem

Details = TypeVar("Details")


@dataclass(frozen=True)
class NoDetails:
    """Of these parts nothing is noted beside rows and bytes."""


@dataclass(frozen=True)
class Table(Generic[Details]):
    """A table: the parts `FOLDER/part-00000.parquet` and so on, or a single file of that folder.

    Attributes:
        folder: Its folder in the run.
        schema: Its schema, given the length of its vectors; that of other tables does not depend on it.
        details: A dataclass of plain values: what the manifest notes of each part, so that the part stays closed.
        name: Name of its single file; empty for a table in parts.
        rows_of: The signal whose rows it has, those with the signal; empty where it has others.
        optional: Whether its stage may write none, a single file.
    """

    folder: str
    schema: Callable[[int], pa.Schema]
    details: type[Details]
    name: str = ""
    rows_of: str = ""
    optional: bool = False

    def owns(self, path: str) -> bool:
        """Whether a file of the run belongs to the table."""
        folder, _, file = path.rpartition("/")
        return folder == self.folder and (file == f"{self.name}.parquet" if self.name else file.startswith("part-"))

    def path(self, name: str) -> str:
        """Path of the part of a name."""
        return f"{self.folder}/{name}.parquet"

    def parts(self, run: RunDirectory) -> list[Part[Details]]:
        """The finished parts, by path.

        Raises:
            ArdsError: an entry of the manifest is damaged.
        """
        return [self._typed(run, part) for part in run.parts(self.folder)]

    def part(self, run: RunDirectory, name: str) -> Part[Details] | None:
        """The finished part of a name; see `parts`."""
        part = run.part(self.path(name))
        return None if part is None else self._typed(run, part)

    def read(self, run: RunDirectory, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A part, or some of its columns."""
        return run.read_table(self.path(name), columns)

    def write(
        self,
        run: RunDirectory,
        name: str,
        table: pa.Table,
        stage: str,
        started: float,
        details: Details,
        row_groups: Sequence[int] = (),
    ) -> Part[Details]:
        """Write a part; see `RunDirectory.write_table`."""
        noted: Any = asdict(details)  # type: ignore[call-overload]
        part: Part = run.write_table(self.path(name), table, stage, started, noted, row_groups)
        return replace(part, details=details)

    def discard(self, run: RunDirectory, keep: str | None = None) -> None:
        """Delete the parts that another fingerprint made."""
        run.discard(self.folder, keep)

    def _typed(self, run: RunDirectory, part: "Part[Any]") -> Part[Details]:
        kinds: dict[str, Any] = {
            item.name: get_origin(item.type) or item.type
            for item in fields(self.details)  # type: ignore[arg-type]
        }
        if problem := fields_problem(part.details, kinds):
            raise ArdsError(
                f"{run.url}: the manifest's entry of {part.path} is damaged ({problem}); delete the file and run the "
                "same command again"
            )
        return replace(part, details=self.details(**{name: part.details[name] for name in kinds}))
