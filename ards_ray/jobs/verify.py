"""Whether a run directory is sound: files whole, every conversation once in each table, sums that agree."""

import posixpath
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from rich.console import Console

from ards_ray.config import Settings, to_dict
from ards_ray.console import say
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.errors import ArdsError
from ards_ray.evaluation.answers import ANSWERS, RECORDED
from ards_ray.methods.ranking import mixture_stage, ranking_table
from ards_ray.methods.registry import METHODS
from ards_ray.mixture.summary import SUMMARY, summary_problem
from ards_ray.mixture.write import mixture_url
from ards_ray.report.evaluation import ANSWERS_FILE
from ards_ray.run.directory import CONFIG_FILE, RUN_FILE, THREADS, Part, RunDirectory
from ards_ray.run.fields import fields_problem
from ards_ray.run.fingerprint import fingerprint
from ards_ray.run.progress import StageProgress
from ards_ray.run.stage import is_current
from ards_ray.run.state import RunState
from ards_ray.run.table import NoDetails, Table
from ards_ray.signals.failures import FAILURES, failed_rows
from ards_ray.signals.read_vectors import scored_vectors
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.signal import FAILED, NONE, OK, Signal, SignalDetails

CHUNK_BYTES = 1 << 22
# The exponent of a number in half precision that is infinite or none.
NOT_FINITE = 0x7C00
_SECTIONS = {name: dict for name, value in to_dict(Settings()).items() if isinstance(value, dict)}
_OF_SHARDS: Sequence[Table[Any]] = (CONVERSATIONS, *(signal.table for signal in SIGNALS.values()))
TABLES: Sequence[Table[Any]] = (
    *_OF_SHARDS,
    *(table for method in METHODS.values() for table in method.tables),
    *(ranking_table(name) for name in METHODS),
    Table("answers", lambda width: RECORDED, NoDetails),
)


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
    mixtures = [name for name in state.stages if name.endswith("/mixture")]
    finished = bool(mixtures) and all(_is_finished(run, state, name) for name in mixtures)
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
        sizes = run.sizes()
        for found in pool.map(lambda part: list(_file_problems(run, state, part, sizes)), parts):
            advance()
            yield from found
            whole = whole and not found
    yield from _unlisted(run, state, {part.path for part in parts} | {problem.path for problem in lost})
    if whole:
        # What a lost or damaged file would say of the others is of no use.
        yield from _row_problems(run, state, parts)
        yield from _sum_problems(run, state, parts)


def _parts(parts: Sequence[Part], table: str) -> list[Part]:
    """Those of a table in parts, without what else lies beside them."""
    return [part for part in parts if part.table == table and part.name.startswith("part-")]


def _is_finished(run: RunDirectory, state: RunState, mixture: str) -> bool:
    """Whether a method's mixture and its summary are there and up to date."""
    return is_current(run, state, mixture) and run.exists(f"{posixpath.dirname(mixture)}/{SUMMARY}")


def _owner(path: str) -> Table[Any] | None:
    """The table that a file of the run belongs to; None for a file that is no table's."""
    return next((table for table in TABLES if table.owns(path)), None)


def _stage_of(path: str) -> str:
    """The stage that writes a file of the run."""
    folder = posixpath.dirname(path)
    parts = folder.split("/")
    if parts[0] == "methods" and (len(parts) == 2 or parts[2] in ("ranking", "mixture")):
        return mixture_stage(parts[1])
    return folder or path.split(".")[0]


def _stage_problems(state: RunState) -> Iterator[Problem]:
    for name, record in state.stages.items():
        if fingerprint(record.inputs) != record.fingerprint:
            yield Problem(RUN_FILE, f"the fingerprint of {name} is not that of its inputs")


def _config_problems(run: RunDirectory, state: RunState) -> Iterator[Problem]:
    """The settings, which are there before the first signals."""
    if not any(name.startswith(("signals/", "methods/")) for name in state.stages):
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
    counts = Counter(part.fingerprint for part in parts)
    for name, record in state.stages.items():
        entries = counts[record.fingerprint]
        if not record.complete or entries == record.files:
            continue
        # Of a signal of some rows only, not every shard has a part.
        lost = [] if name in _of_some_rows(state) else sorted(_expected(run, name, parts) - listed)
        for path in lost:
            there = run.exists(path)
            yield Problem(path, "not in the manifest" if there else "missing, and no longer in the manifest")
        if entries + len(lost) != record.files:
            yield Problem(RUN_FILE, f"{name} finished {record.files:,} files, and the manifest names {entries:,}")


def _of_some_rows(state: RunState) -> set[str]:
    """The signals that were asked of some rows only."""
    return {name for record in state.stages.values() for name in record.inputs.get("completes", ())}


def _expected(run: RunDirectory, stage: str, parts: Sequence[Part]) -> set[str]:
    """Files that a stage must have finished, as far as the other files tell: the numbers of parts have no gaps."""
    if stage == "answers":
        return {ANSWERS_FILE}
    if stage.endswith("/mixture"):
        folder = posixpath.dirname(stage)
        # A mixture in Parquet has no part for a corpus file of which nothing was chosen: gaps say nothing.
        url = mixture_url(run, folder).removeprefix(f"{run.url}/")
        files = set() if run.exists(f"{folder}/mixture") else {url}
        return _numbered([ranking_table(folder.split("/")[1])], parts) | files
    own = [table for table in TABLES if table.folder == stage]
    singles = {table.path(table.name): table.optional for table in own if table.name}
    there = {path for path, optional in singles.items() if not optional or run.exists(path)}
    return there | _numbered([table for table in own if not table.name], parts)


def _numbered(tables: Sequence[Table[Any]], parts: Sequence[Part]) -> set[str]:
    """Parts of tables up to the last of those tables that have parts of the same names; the first is always there."""
    found: set[str] = set()
    for table in tables:
        alike = {other.folder for other in TABLES if _alike(table, other)} | {table.folder}
        names = {part.name for folder in alike for part in _parts(parts, folder)}
        last = max((int(name.removeprefix("part-")) for name in names), default=0)
        found |= {table.path(f"part-{number:05d}") for number in range(last + 1)}
    return found


def _alike(one: Table[Any], other: Table[Any]) -> bool:
    """Whether two tables have parts of the same names: shards, or groups of them."""
    if one in _OF_SHARDS:
        return other in _OF_SHARDS
    return bool(one.rows_of) and one.rows_of == other.rows_of


def _file_problems(run: RunDirectory, state: RunState, part: Part, sizes: Mapping[str, int]) -> Iterator[Problem]:
    location = run.location / part.path
    if part.path not in sizes:
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
    name = _stage_of(part.path)
    stage = state.stages.get(name)
    if stage is not None and stage.complete and part.fingerprint != stage.fingerprint:
        yield Problem(part.path, f"made with other settings or inputs than the rest of {name}")
    if part.path == ANSWERS_FILE or _owner(part.path) is not None:
        with run.open_table(part.path) as table:
            yield from _table_problems(part, table)


def _table_problems(part: Part, table: pq.ParquetFile) -> Iterator[Problem]:
    if table.metadata.num_rows != part.rows:
        yield Problem(part.path, f"{table.metadata.num_rows:,} rows, and the manifest says {part.rows:,}")
    found = table.schema_arrow
    widths = [field.type.list_size for field in found if pa.types.is_fixed_size_list(field.type)]
    owner = _owner(part.path)
    expected = ANSWERS if owner is None else owner.schema(widths[0] if widths else 0)
    if not found.equals(expected):
        differing = sorted({field.name for field in [*found, *expected] if field not in found or field not in expected})
        yield Problem(part.path, f"not the schema of its table: {', '.join(differing) or 'the order of its columns'}")


def _unlisted(run: RunDirectory, state: RunState, known: Set[str]) -> Iterator[Problem]:
    for path in sorted(run.sizes()):
        stage = state.stages.get(_stage_of(path))
        hidden = posixpath.basename(path).startswith(".")
        if path.endswith(".parquet") and not hidden and path not in known and stage and stage.complete:
            yield Problem(path, "not in the manifest")


def _row_problems(run: RunDirectory, state: RunState, parts: Sequence[Part]) -> Iterator[Problem]:
    """Every conversation once in conversations and in signals, every scored one once in what is made of signals."""
    if not _is_complete(state, CONVERSATIONS.folder):
        return
    count = sum(part.rows for part in _parts(parts, CONVERSATIONS.folder))
    everything = np.ones(count, dtype=bool)
    counts = _Rows(CONVERSATIONS.folder, count)
    owners: dict[str, np.ndarray] = {}
    for part in CONVERSATIONS.parts(run):
        owners[part.name] = run.read_table(part.path, ["row"])["row"].to_numpy()
        yield from counts.add(part.path, owners[part.name])
    yield from counts.missing(everything, True)
    some_rows = _of_some_rows(state)
    with_signal: dict[str, np.ndarray] = {}
    failed: dict[str, np.ndarray] = {}
    for name, signal in SIGNALS.items():
        folder = signal.table.folder
        found = _Rows(folder, count)
        with_signal[name], failed[name] = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        whole = folder not in some_rows
        for signal_part in signal.table.parts(run):
            own = [field.name for field in signal.columns(0) if field.name != "vector"]
            table = run.read_table(signal_part.path, ["row", "status", "error", *own])
            rows = table["row"].to_numpy()
            yield from found.add(signal_part.path, rows)
            expected = owners.get(signal_part.name, np.empty(0, np.int64))
            if not (np.array_equal(np.sort(rows), np.sort(expected)) if whole else np.isin(rows, expected).all()):
                yield Problem(signal_part.path, "its rows are not those of the conversations part of its name")
                continue
            yield from _signal_problems(run, signal, signal_part, table)
            status = np.array(table["status"].to_pylist(), dtype=object)
            with_signal[name][rows[status == OK]] = True
            failed[name][rows[status == FAILED]] = True
        yield from found.missing(everything, whole and _is_complete(state, folder))
    for table_of_rows in TABLES:
        if table_of_rows.rows_of and is_current(run, state, table_of_rows.folder):
            found = _Rows(table_of_rows.folder, count)
            for part in _parts(parts, table_of_rows.folder):
                yield from found.add(part.path, run.read_table(part.path, ["row"])["row"].to_numpy())
            yield from found.missing(with_signal[table_of_rows.rows_of], True)
    for name, record in state.stages.items():
        if name.endswith("/mixture") and is_current(run, state, name):
            ranking = ranking_table(name.split("/")[1])
            found = _Rows(ranking.folder, count)
            for part in _parts(parts, ranking.folder):
                yield from found.add(part.path, run.read_table(part.path, ["row"])["row"].to_numpy())
            used = [before.removeprefix("signals/") for before in record.inputs.get("after", {})]
            lost = [failed[signal] for signal in used if signal in failed]
            yield from found.missing(~np.any(lost, axis=0) if lost else everything, True)


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


def _signal_problems(
    run: RunDirectory, signal: Signal, part: Part[SignalDetails], table: pa.Table
) -> Iterator[Problem]:
    status = table["status"].to_pylist()
    ok = np.array([state == OK for state in status], dtype=bool)
    unknown = {*status} - {OK, FAILED, NONE}
    if unknown:
        yield Problem(part.path, f"unknown status {sorted(unknown)[0]!r}")
    counts = (status.count(OK), status.count(FAILED), status.count(NONE))
    if counts != (part.details.ok, part.details.failed, part.details.none):
        yield Problem(part.path, "scored and failed rows are not as many as the manifest says")
        return
    for field in signal.columns(0):
        if field.name != "vector" and (table[field.name].is_valid().to_numpy() != ok).any():
            yield Problem(part.path, f"{field.name} is missing in a row with the signal, or stands in another")
        if pa.types.is_floating(field.type) and not np.isfinite(table[field.name].drop_null().to_numpy()).all():
            yield Problem(part.path, f"{field.name} is not finite")
    failed = np.array([state == FAILED for state in status], dtype=bool)
    if (table["error"].is_valid().to_numpy() != failed).any():
        yield Problem(part.path, "error is missing in a failed row, or stands in another")
    if signal.has_vectors:
        for _, vectors in scored_vectors(run, part):
            if (vectors.view(np.uint16) & NOT_FINITE == NOT_FINITE).any():
                yield Problem(part.path, "a vector is not finite")
                break


def _is_complete(state: RunState, stage: str) -> bool:
    return stage in state.stages and state.stages[stage].complete


def _sum_problems(run: RunDirectory, state: RunState, parts: Sequence[Part]) -> Iterator[Problem]:
    """Sums that agree with each other, of the methods that are finished."""
    for name, record in state.stages.items():
        if not name.endswith("/mixture") or not _is_finished(run, state, name):
            continue
        folder = posixpath.dirname(name)
        path = f"{folder}/{SUMMARY}"
        summary = run.read_json(path)
        if problem := summary_problem(summary):
            yield Problem(path, f"damaged ({problem})")
            continue
        ranking = run.read_columns(_parts(parts, f"{folder}/ranking"), ["selected"])
        mixture = [part for part in parts if part.path.startswith(f"{folder}/mixture")]
        signals = [
            before.removeprefix("signals/") for before in record.inputs["after"] if before.startswith("signals/")
        ]
        count = sum(part.rows for part in _parts(parts, CONVERSATIONS.folder))
        failed = int(failed_rows(run, signals, count).sum())
        found = {
            "conversations": count,
            "scored": count - failed,
            "failed": failed,
            "selected": int(np.count_nonzero(ranking["selected"].to_numpy())),
        }
        for key, value in found.items():
            if summary[key] != value:
                yield Problem(path, f"{key}: {summary[key]:,}, and the tables hold {value:,}")
        if sum(part.rows for part in mixture) != found["selected"]:
            yield Problem(mixture[0].path if mixture else folder, "not as many conversations as were selected")
        lines = next((part.rows for part in parts if part.path == FAILURES), 0)
        if lines < failed:
            yield Problem(FAILURES, f"{lines:,} lines, and {failed:,} conversations failed")
        for wrong, what in METHODS[summary["method"]].problems(run, summary):
            yield Problem(wrong, what)
