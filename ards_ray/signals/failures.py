"""Failures: the conversations of which a signal could not be computed."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic

import numpy as np
import pyarrow.compute as pc

from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.errors import reason_of
from ards_ray.run.directory import RunDirectory
from ards_ray.run.fingerprint import digest
from ards_ray.run.stage import parts_digest
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.signal import FAILED

FAILURES = "failures.jsonl"


def failures(run: RunDirectory, names: Sequence[str]) -> Iterator[tuple[str, dict[int, tuple[str, str]]]]:
    """For each shard with failures the rows of which a signal failed, with the first such signal and its error.

    Args:
        run: The run.
        names: Names of the signals.
    """
    shards: dict[str, list[str]] = {}
    for name in names:
        for part in SIGNALS[name].table.parts(run):
            if part.details.failed:
                shards.setdefault(part.name, []).append(name)
    for shard in sorted(shards):
        found: dict[int, tuple[str, str]] = {}
        for name in shards[shard]:
            table = SIGNALS[name].table.read(run, shard, ["row", "status", "error"])
            for row in table.filter(pc.equal(table["status"], FAILED)).to_pylist():
                found.setdefault(row["row"], (name, row["error"]))
        yield shard, found


def failed_rows(run: RunDirectory, names: Sequence[str], size: int) -> np.ndarray:
    """The rows of which a signal failed, bool [size]."""
    failed = np.zeros(size, dtype=bool)
    for _, found in failures(run, names):
        failed[list(found)] = True
    return failed


def failure_reasons(run: RunDirectory, names: Sequence[str]) -> dict[str, int]:
    """Failed conversations by reason."""
    reasons = Counter(reason_of(error) for _, found in failures(run, names) for _, error in found.values())
    return dict(reasons)


def write_failures(run: RunDirectory) -> None:
    """Write failures.jsonl, unless it is there: a line for each conversation of which a signal of the run failed.

    Signals that this job does not use count as well: other methods of the run use them.
    """
    started = monotonic()
    names = [name for name in SIGNALS if SIGNALS[name].table.parts(run)]
    stage = digest(parts_digest(SIGNALS[name].table.parts(run)) for name in names)
    written = run.part(FAILURES)
    if written is not None and written.fingerprint == stage:
        return
    count = 0
    with run.publish(FAILURES) as stream:
        for shard, found in failures(run, list(SIGNALS)):
            for entry in CONVERSATIONS.read(run, shard, ["row", "id", "source"]).to_pylist():
                if entry["row"] in found:
                    signal, error = found[entry["row"]]
                    line = json.dumps({**entry, "signal": signal, "error": error}, ensure_ascii=False)
                    stream.write((line + "\n").encode())
                    count += 1
    run.record(FAILURES, count, stream, stage, started)


def example_failure(run: RunDirectory, reasons: Mapping[str, int]) -> str:
    """The whole error of a conversation that failed for the most frequent reason; failures.jsonl is written.

    The reason alone, where those conversations stand there with what failed of another signal.
    """
    reason = max(reasons, key=lambda name: reasons[name])
    lines = run.read_bytes(FAILURES).splitlines()
    return next((error for line in lines if reason_of(error := json.loads(line)["error"]) == reason), reason)
