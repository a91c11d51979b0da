"""The answers as they come, kept in the run, so that nothing is asked twice."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pyarrow as pa

from ards_ray.evaluation.answers import RECORDED, Request
from ards_ray.run.directory import THREADS, RunDirectory

# Answers are written when they are so many, or when some come so many seconds after those before.
_ROWS = 1024
_SECONDS = 2.0


class AnswerLog:
    """The table `answers` of a run. A context manager: what is not written yet is written at its end, unless it is
    interrupted: then the run may be another driver's.

    Args:
        run: The run.
        stage: Fingerprint of what the answers depend on beside prompt and images.
        stamps: For each benchmark and question what changes when its images do.
    """

    def __init__(self, run: RunDirectory, stage: str, stamps: Mapping[str, Mapping[str, str]]):
        self._run = run
        self._stage = stage
        self._stamps = stamps
        self._parts = [part for part in run.parts("answers") if part.fingerprint == stage]
        # The number of a part that was written and not entered in the manifest is given again.
        self._number = max((int(part.name.removeprefix("part-")) for part in self._parts), default=-1) + 1
        self._rows: list[dict[str, Any]] = []
        self._written = monotonic()

    def known(self) -> dict[str, dict[tuple[str, str], str]]:
        """The answers so far, by benchmark, then by question and prompt; without those to images that changed."""
        known: dict[str, dict[tuple[str, str], str]] = {name: {} for name in self._stamps}
        with ThreadPoolExecutor(THREADS) as pool:
            tables = pool.map(lambda part: self._run.read_table(part.path), self._parts)
            for row in (row for table in tables for row in table.to_pylist()):
                if self._stamps.get(row["benchmark"], {}).get(row["question"]) == row["images"]:
                    known[row["benchmark"]][row["question"], row["prompt"]] = row["answer"]
        return known

    def add(self, benchmark: str, answered: Sequence[tuple[Request, str]]) -> None:
        """Keep answers to requests."""
        for request, answer in answered:
            id = request.question.id
            values = (benchmark, id, self._stamps[benchmark][id], request.prompt, answer)
            self._rows.append(dict(zip(RECORDED.names, values, strict=True)))
        if len(self._rows) >= _ROWS or monotonic() - self._written > _SECONDS:
            self._write()

    def __enter__(self) -> "AnswerLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not KeyboardInterrupt:
            self._write()

    def _write(self) -> None:
        started = monotonic()
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=RECORDED)
            self._run.write_table(f"answers/part-{self._number:06d}.parquet", table, self._stage, started)
            self._number += 1
            self._rows = []
        self._written = monotonic()
