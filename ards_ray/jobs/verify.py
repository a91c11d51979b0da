"""Whether a run directory is sound: files whole, every conversation once in each table, sums that agree."""

from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from rich.console import Console

from ards_ray import schema
from ards_ray.config import Settings, to_dict
from ards_ray.console import say
from ards_ray.errors import ArdsError
from ards_ray.evaluation.answers import ANSWERS, RECORDED
from ards_ray.methods.ards.clusters import CENTER, CENTROIDS
from ards_ray.methods.ards.subgroups import MEMBERS, SUBGROUPS
from ards_ray.mixture.summary import SUMMARY, summary_problem
from ards_ray.mixture.write import FAILURES, mixture_url
from ards_ray.report.evaluation import ANSWERS_FILE
from ards_ray.run.directory import CONFIG_FILE, RUN_FILE, THREADS, Part, RunDirectory, stage_of
from ards_ray.run.fields import fields_problem
from ards_ray.run.fingerprint import fingerprint
from ards_ray.run.progress import StageProgress
from ards_ray.run.state import RunState
from ards_ray.signals.inputs import is_current
from ards_ray.signals.read_vectors import scored_vectors

CHUNK_BYTES = 1 << 22
# The exponent of a number in half precision that is infinite or none.
NOT_FINITE = 0x7C00
_SECTIONS = {name: dict for name, value in to_dict(Settings()).items() if isinstance(value, dict)}


@dataclass(frozen=True)
class Problem:
    """Something wrong with a file of the run."""

    path: str
    what: str


class Unsound(ArdsError):
    """A run directory has problems."""


def verify(url: str, console: Console) -> None:
    """Check a run directory and say what is wrong with which file; nothing is changed.

    Raises:
        Unsound: something is wrong.
        ArdsError: it is no run of this version, or a file cannot be read at all.
    """
    run = RunDirectory(url)
    if not run.exists(RUN_FILE):
        raise ArdsError(f"{run.url}: no run is there")
    state = RunState(run)
    parts = run.finished()
    with StageProgress(console, "verify", len(parts), "files") as progress:
        problems = list(find_problems(run, state, parts, progress.advance))
    for problem in problems:
        say(console, f"{run.url}/{problem.path}: {problem.what}")
    answers = state.stages.get("answers")
    finished = is_current(state, _parts(parts, "signals"), "mixture") and run.exists(SUMMARY)
    if not finished and (answers is None or not answers.complete):
        say(console, "The run is not finished: the same command goes on with it.")
    if problems:
        raise Unsound(
            f"{run.url}: {len(problems):,} problems; delete the tables' files that are named and run the same command "
            "again, or start over with --fresh"
        )
    table = "conversations" if answers is None else "answers"
    rows = sum(part.rows for part in _parts(parts, table))
    say(console, f"Sound: {len(parts):,} files, {rows:,} {table}.")


def find_problems(
    run: RunDirectory, state: RunState, parts: Sequence[Part], advance: Callable[[], None]
) -> Iterator[Problem]:
    """All problems of a run.

    Args:
        run: The run.
        state: What run.json says.
        parts: Its finished files.
        advance: Called for each file.
    """
    yield from _stage_problems(state)
    yield from _config_problems(run, state)
    lost = list(_lost_entries(run, state, parts))
    yield from lost
    whole = not lost
    with ThreadPoolExecutor(THREADS) as pool:
        for found in pool.map(lambda part: list(_file_problems(run, state, part)), parts):
            advance()
            yield from found
            whole = whole and not found
    yield from _unlisted(run, state, {part.path for part in parts} | {problem.path for problem in lost})
    if whole:
        # What a lost or damaged file would say of the others is of no use.
        yield from _row_problems(run, state, parts)
        yield from _sum_problems(run, state, parts)


def _parts(parts: Sequence[Part], table: str) -> list[Part]:
    """Those of a table, without what else lies beside them."""
    return [part for part in parts if part.table == table and part.name.startswith("part-")]


def _stage_problems(state: RunState) -> Iterator[Problem]:
    for name, record in state.stages.items():
        if fingerprint(record.inputs) != record.fingerprint:
            yield Problem(RUN_FILE, f"the fingerprint of {name} is not that of its inputs")


def _config_problems(run: RunDirectory, state: RunState) -> Iterator[Problem]:
    """The settings, which are there before the first signals."""
    if "signals" not in state.stages:
        return
    if not run.exists(CONFIG_FILE):
        yield Problem(CONFIG_FILE, "missing")
        return
    try:
        problem = fields_problem(yaml.safe_load(run.read_bytes(CONFIG_FILE)), _SECTIONS)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
    if problem:
        yield Problem(CONFIG_FILE, f"not the settings of a run ({problem})")


def _lost_entries(run: RunDirectory, state: RunState, parts: Sequence[Part]) -> Iterator[Problem]:
    """Files that complete stages have finished and that the manifest does not name any more."""
    listed = {part.path for part in parts}
    for name, record in state.stages.items():
        entries = sum(stage_of(path) == name for path in listed)
        if not record.complete or entries == record.files:
            continue
        lost = sorted(_expected(run, name, parts) - listed)
        for path in lost:
            there = run.exists(path)
            yield Problem(path, "not in the manifest" if there else "missing, and no longer in the manifest")
        if entries + len(lost) != record.files:
            yield Problem(RUN_FILE, f"{name} finished {record.files:,} files, and the manifest names {entries:,}")


def _expected(run: RunDirectory, stage: str, parts: Sequence[Part]) -> set[str]:
    """Files that a stage must have finished, as far as the other files tell: the numbers of parts have no gaps."""
    if stage in ("conversations", "signals"):
        return _numbered(stage, parts, ("conversations", "signals"))
    if stage in ("clusters", "scores"):
        return _numbered(stage, parts, ("clusters", "scores")) | ({CENTROIDS} if stage == "clusters" else set())
    if stage == "mixture":
        # A mixture in Parquet has no part for a corpus file of which nothing was chosen: gaps say nothing.
        mixture = mixture_url(run, "methods/ards").removeprefix(f"{run.url}/")
        return _numbered("information", parts, ("information",)) | ({mixture} if "." in mixture else set())
    return {"subgroups": {SUBGROUPS, MEMBERS}, "answers": {ANSWERS_FILE}}.get(stage, set())


def _numbered(table: str, parts: Sequence[Part], alike: Sequence[str]) -> set[str]:
    """Parts of a table up to the last of those tables that have parts of the same names."""
    names = {part.name for other in alike for part in _parts(parts, other)}
    last = max((int(name.removeprefix("part-")) for name in names), default=-1)
    return {f"{table}/part-{number:05d}.parquet" for number in range(last + 1)}


def _file_problems(run: RunDirectory, state: RunState, part: Part) -> Iterator[Problem]:
    location = run.location / part.path
    if not location.exists():
        yield Problem(part.path, "missing")
        return
    sha, size = sha256(), 0
    with location.filesystem.open_input_file(location.path) as file:
        while chunk := file.read(CHUNK_BYTES):
            sha.update(chunk)
            size += len(chunk)
    if problem := part.size_problem(size):
        yield Problem(part.path, problem)
        return
    if sha.hexdigest() != part.sha256:
        yield Problem(part.path, "its checksum is not the manifest's")
        return
    stage = state.stages.get(stage_of(part.path))
    if stage is not None and stage.complete and part.fingerprint != stage.fingerprint:
        yield Problem(part.path, f"made with other settings or inputs than the rest of {stage_of(part.path)}")
    if part.path.endswith(".parquet") and not part.path.startswith("mixture/"):
        with run.open_table(part.path) as table:
            yield from _table_problems(part, table)


def _table_problems(part: Part, table: pq.ParquetFile) -> Iterator[Problem]:
    if table.metadata.num_rows != part.rows:
        yield Problem(part.path, f"{table.metadata.num_rows:,} rows, and the manifest says {part.rows:,}")
    found = table.schema_arrow
    expected = _schema_of(part.path, found)
    if expected is not None and not found.equals(expected):
        differing = sorted({field.name for field in [*found, *expected] if field not in found or field not in expected})
        yield Problem(part.path, f"not the schema of its table: {', '.join(differing) or 'the order of its columns'}")


def _schema_of(path: str, found: pa.Schema) -> pa.Schema | None:
    """The schema that a file must have; the length of vectors is its own."""
    widths = [field.type.list_size for field in found if pa.types.is_fixed_size_list(field.type)]
    width = widths[0] if widths else 0
    if path == ANSWERS_FILE:
        return ANSWERS
    special = {CENTROIDS: schema.centroids, SUBGROUPS: schema.subgroups, MEMBERS: schema.members}
    if path in special:
        return special[path](width)
    if path == CENTER:
        return None
    tables = {
        "conversations": schema.CONVERSATIONS,
        "signals": schema.signals(width),
        "clusters": schema.CLUSTERS,
        "scores": schema.SCORES,
        "information": schema.INFORMATION,
        "answers": RECORDED,
    }
    return tables[path.split("/")[0]]


def _unlisted(run: RunDirectory, state: RunState, known: Set[str]) -> Iterator[Problem]:
    for path in sorted(run.sizes()):
        stage = state.stages.get(stage_of(path))
        if "/" in path and not path.split("/")[-1].startswith(".") and path not in known and stage and stage.complete:
            yield Problem(path, "not in the manifest")


def _row_problems(run: RunDirectory, state: RunState, parts: Sequence[Part]) -> Iterator[Problem]:
    """Every conversation once in conversations and in signals, every scored one once in what is made of signals."""
    if not _is_complete(state, "conversations"):
        return
    conversations = _parts(parts, "conversations")
    count = sum(part.rows for part in conversations)
    counts = _Rows("conversations", count)
    owners: dict[str, np.ndarray] = {}
    for part in conversations:
        owners[part.name] = run.read_table(part.path, ["row"])["row"].to_numpy()
        yield from counts.add(part.path, owners[part.name])
    yield from counts.missing(np.ones(count, dtype=bool), True)
    scored_parts = _parts(parts, "signals")
    signals = _Rows("signals", count)
    scored = np.zeros(count, dtype=bool)
    for part in scored_parts:
        table = run.read_table(part.path, ["row", "status", "error", "clean_loss", "content"])
        rows = table["row"].to_numpy()
        yield from signals.add(part.path, rows)
        if not np.array_equal(np.sort(rows), np.sort(owners.get(part.name, np.empty(0)))):
            yield Problem(part.path, "its rows are not those of the conversations part of its name")
        yield from _signal_problems(run, part, table)
        ok = pc.equal(table["status"], "ok").to_numpy()
        scored[rows[ok & (rows >= 0) & (rows < count)]] = True
    yield from signals.missing(np.ones(count, dtype=bool), _is_complete(state, "signals"))
    for name, stage in (("clusters", "clusters"), ("scores", "scores"), ("information", "mixture")):
        if not is_current(state, scored_parts, stage):
            continue
        found = _Rows(name, count)
        for part in _parts(parts, name):
            yield from found.add(part.path, run.read_table(part.path, ["row"])["row"].to_numpy())
        yield from found.missing(scored, True)


class _Rows:
    """Which rows of the corpus a table holds, a byte for each."""

    def __init__(self, table: str, count: int):
        self._table = table
        self._seen = np.zeros(count, dtype=bool)

    def add(self, path: str, rows: np.ndarray) -> Iterator[Problem]:
        outside = rows[(rows < 0) | (rows >= len(self._seen))]
        if len(outside):
            yield Problem(path, f"row {outside[0]} is not in the corpus")
        rows = rows[(rows >= 0) & (rows < len(self._seen))]
        unique, counts = np.unique(rows, return_counts=True)
        twice = np.concatenate([unique[counts > 1], unique[self._seen[unique]]])
        if len(twice):
            yield Problem(path, f"row {twice[0]} stands there for the second time")
        self._seen[unique] = True

    def missing(self, expected: np.ndarray, complete: bool) -> Iterator[Problem]:
        lost = np.flatnonzero(expected & ~self._seen)
        surplus = np.flatnonzero(self._seen & ~expected)
        if complete and len(lost):
            yield Problem(self._table, f"{len(lost):,} rows are missing, the first is {lost[0]}")
        if len(surplus):
            yield Problem(self._table, f"{len(surplus):,} rows were not scored, the first is {surplus[0]}")


def _signal_problems(run: RunDirectory, part: Part, table: pa.Table) -> Iterator[Problem]:
    status = table["status"].to_pylist()
    ok = np.array([state == "ok" for state in status], dtype=bool)
    unknown = {*status} - {"ok", "failed"}
    if unknown:
        yield Problem(part.path, f"unknown status {sorted(unknown)[0]!r}")
    if (int(ok.sum()), int((~ok).sum())) != (part.details["ok"], part.details["failed"]):
        yield Problem(part.path, "scored and failed rows are not as many as the manifest says")
        return
    for column in ("clean_loss", "content"):
        if (table[column].is_valid().to_numpy() != ok).any():
            yield Problem(part.path, f"{column} is missing in a scored row, or stands in a failed one")
    if (table["error"].is_valid().to_numpy() == ok).any():
        yield Problem(part.path, "error is missing in a failed row, or stands in a scored one")
    if not np.isfinite(table["clean_loss"].drop_null().to_numpy()).all():
        yield Problem(part.path, "a loss is not finite")
    for _, vectors in scored_vectors(run, part):
        if (vectors.view(np.uint16) & NOT_FINITE == NOT_FINITE).any():
            yield Problem(part.path, "a vector is not finite")
            break


def _is_complete(state: RunState, stage: str) -> bool:
    return stage in state.stages and state.stages[stage].complete


def _sum_problems(run: RunDirectory, state: RunState, parts: Sequence[Part]) -> Iterator[Problem]:
    """Sums that agree with each other, of a run that is finished."""
    signals = _parts(parts, "signals")
    if not is_current(state, signals, "mixture") or not run.exists(SUMMARY):
        return
    summary = run.read_json(SUMMARY)
    if problem := summary_problem(summary):
        yield Problem(SUMMARY, f"damaged ({problem})")
        return
    information = run.read_columns(_parts(parts, "information"), ["member", "selected"])
    mixture = [part for part in parts if part.table == "mixture"]
    failures = next((part for part in parts if part.path == FAILURES), None)
    found: dict[str, Any] = {
        "conversations": sum(part.rows for part in _parts(parts, "conversations")),
        "scored": sum(part.details["ok"] for part in signals),
        "failed": sum(part.details["failed"] for part in signals),
        "members": int(np.count_nonzero(information["member"].to_numpy())),
        "selected": int(np.count_nonzero(information["selected"].to_numpy())),
    }
    for name, value in found.items():
        if summary[name] != value:
            yield Problem(SUMMARY, f"{name}: {summary[name]:,}, and the tables hold {value:,}")
    if summary["scored"] + summary["failed"] != summary["conversations"]:
        yield Problem(SUMMARY, "scored and failed are not all conversations")
    if sum(part.rows for part in mixture) != found["selected"]:
        yield Problem(mixture[0].path if mixture else "mixture", "not as many conversations as were selected")
    if failures is None or failures.rows != found["failed"]:
        yield Problem(FAILURES, "not as many lines as failed conversations")
    weights = run.read_table(SUBGROUPS, ["weight"])["weight"].to_numpy()
    if abs(weights.sum() - 1) > 1e-9:
        yield Problem(SUBGROUPS, f"the weights add up to {weights.sum():.9f}, not to 1")
