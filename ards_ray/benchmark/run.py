"""How long a large run takes to open, to tell its status, to go on and to be verified, and what it reads for that."""

import json
import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console

from ards_ray.benchmark.stores import CountedFileSystem, s3_server
from ards_ray.console import say, table_of
from ards_ray.corpus.formats import FORMATS
from ards_ray.corpus.table import ConversationsDetails
from ards_ray.errors import ArdsError, SettingsError
from ards_ray.jobs.status import print_status
from ards_ray.run.directory import THREADS, RunDirectory
from ards_ray.run.progress import StageProgress
from ards_ray.run.state import RunState, versions
from ards_ray.run.vectors import vector_column
from ards_ray.signals.signal import SignalDetails

SHARD = 250
WIDTH = 8
TABLES = ("conversations", "signals/clean", "signals/corrupted", "signals/vectors", "signals/blind")
COUNTS = ("objects read", "pages listed", "looks")
# Threads of each process that writes parts: they wait for the disk.
WRITERS = 8
CHUNK = 64


def measure_run(conversations: int, output: str | None, s3: bool, report: str | None, console: Console) -> None:
    """Measure what is done with a finished run, and print what was found.

    Args:
        conversations: How many conversations the run has.
        output: Run directory, kept and used again; a temporary one if not given.
        s3: Whether an S3 server on this machine is measured as well.
        report: File to which the figures are written as JSON.
        console: Where progress and figures go.

    Raises:
        SettingsError: the output holds something else.
    """
    folder = output or tempfile.mkdtemp(prefix="ards-ray-")
    try:
        started = monotonic()
        parts = _make(conversations, folder, console)
        made = monotonic() - started
        url = RunDirectory(folder).url
        stores = {"local": _measure_local(url)}
        if s3:
            stores["s3"] = _measure_s3(url)
    finally:
        if output is None:
            shutil.rmtree(folder)
    figures = {
        "conversations": conversations,
        "parts": parts,
        "made_seconds": made,
        "cpus": os.cpu_count(),
        "stores": stores,
        "versions": versions(),
    }
    _print(figures, console)
    if report is not None:
        Path(report).write_text(json.dumps(figures, indent=2) + "\n")


def _make(conversations: int, folder: str, console: Console) -> int:
    """Write a run whose signals are done. Returns how many parts it has."""
    run = RunDirectory(folder)
    run.prepare()
    state = RunState(run)
    inputs = {"benchmark": 1, "conversations": conversations}
    if changed := state.differences(TABLES[0], _inputs(TABLES[0], inputs)):
        raise SettingsError(f"{run.url}: holds another run ({'; '.join(changed)}); name another output")
    shards = range(-(-conversations // SHARD))
    total = len(shards) * len(TABLES)
    if all(state.is_done(table, _inputs(table, inputs)) for table in TABLES):
        return total
    stamps = {table: state.start(table, _inputs(table, inputs)) for table in TABLES}
    chunks = [shards[first : first + CHUNK] for first in range(0, len(shards), CHUNK)]
    context = multiprocessing.get_context("spawn")
    with (
        StageProgress(console, "synthetic", total, "parts") as progress,
        ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool,
    ):
        for count in pool.map(_write_shards, ((run.url, chunk, conversations, stamps) for chunk in chunks)):
            progress.advance(count)
    for table in TABLES:
        state.finish(table, 0.0)
    return total


def _inputs(table: str, inputs: dict[str, Any]) -> dict[str, Any]:
    return {**inputs, "table": table}


def _write_shards(arguments: tuple[str, range, int, dict[str, str]]) -> int:
    url, shards, conversations, stamps = arguments
    run = RunDirectory(url)

    def write(number: int) -> None:
        first = number * SHARD
        rows = min(SHARD, conversations - first)
        for table, stamp in stamps.items():
            content = _columns(table).slice(0, rows).set_column(0, "row", pa.array(np.arange(first, first + rows)))
            run.write_table(f"{table}/part-{number:05d}.parquet", content, stamp, monotonic(), _details(table, rows))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, shards))
    return len(shards) * len(stamps)


@cache
def _columns(table: str) -> pa.Table:
    """Rows of a shard of a table; synthetic, and of fewer columns than a real one."""
    random = np.random.default_rng(len(table))
    columns: dict[str, Any] = {"row": np.arange(SHARD)}
    if table == "conversations":
        columns["record"] = [f'{{"id": "{number}"}}' for number in random.integers(1 << 62, size=SHARD)]
    elif table == "signals/vectors":
        columns["vector"] = vector_column(random.standard_normal((SHARD, WIDTH)).astype(np.float16), WIDTH)
    else:
        columns["loss"] = random.random(SHARD, dtype=np.float32)
    return pa.table(columns)


def _details(table: str, rows: int) -> dict[str, Any]:
    """What the manifest notes of a part."""
    formats = {name: rows // len(FORMATS) for name in FORMATS}
    if table == "conversations":
        return asdict(ConversationsDetails(formats, ["synthetic.json"]))
    together = {"clean": 1, "corrupted": 1, "vectors": 1}
    details = SignalDetails(ok=rows, formats=formats, scored=formats, width=WIDTH, images="0" * 64, together=together)
    return asdict(details)


def _open(url: str) -> tuple[RunDirectory, RunState]:
    """Open a run as a job does before it works on it."""
    run = RunDirectory(url)
    run.prepare()
    state = RunState(run)
    if lost := [part.path for part, _ in run.sweep()] or state.reopen_incomplete():
        raise ArdsError(f"{run.url}: {', '.join(lost)}: not as they were written")
    return run, state


def _status(url: str) -> None:
    print_status(url, Console(quiet=True))


def _resume(url: str) -> None:
    """Open a run and find that each signal has every shard."""
    run, state = _open(url)
    names = [part.name for part in run.parts("conversations")]
    for table in TABLES:
        if not state.stages[table].complete or [part.name for part in run.parts(table)] != names:
            raise ArdsError(f"{run.url}: {table} is not done")


def _verify_manifest(url: str) -> None:
    """Compare the manifest with the files that are listed, and with what the stages say that they finished."""
    run = RunDirectory(url)
    state = RunState(run)
    finished, sizes = run.finished(), run.sizes()
    wrong = [part.path for part in finished if part.size_problem(sizes.get(part.path))]
    counts = Counter(part.fingerprint for part in finished)
    if wrong or any(counts[record.fingerprint] != record.files for record in state.stages.values()):
        raise ArdsError(f"{run.url}: not sound")


def _verify_files(url: str) -> None:
    """Read every file and compare its checksum."""
    run = RunDirectory(url)

    def is_whole(path: str, checksum: str) -> bool:
        return sha256(run.read_bytes(path)).hexdigest() == checksum

    finished = run.finished()
    with ThreadPoolExecutor(THREADS) as pool:
        if not all(pool.map(is_whole, [part.path for part in finished], [part.sha256 for part in finished])):
            raise ArdsError(f"{run.url}: not sound")


MEASURED: dict[str, Callable[[str], Any]] = {
    "open": _open,
    "status": _status,
    "resume": _resume,
    "verify, manifest": _verify_manifest,
}


def _measure_local(url: str) -> dict[str, Any]:
    figures = {}
    for name, work in {**MEASURED, "verify, every file": _verify_files}.items():
        spent = _spent(work, url)
        # Counted apart, by a file system in Python, which is slower.
        CountedFileSystem.counts.clear()
        work(f"counted://{url}")
        figures[name] = {**spent, **CountedFileSystem.counts}
    return figures


def _measure_s3(folder: str) -> dict[str, Any]:
    figures = {}
    with s3_server(folder) as server:
        for name, work in MEASURED.items():
            server.counts()
            figures[name] = {**_spent(work, server.url), **server.counts()}
    return figures


def _spent(work: Callable[[str], Any], url: str) -> dict[str, float]:
    """Seconds, and those of this process's processors, of a piece of work."""
    started, processors = monotonic(), process_time()
    work(url)
    return {"seconds": monotonic() - started, "cpu_seconds": process_time() - processors}


def _print(figures: dict[str, Any], console: Console) -> None:
    table = table_of("", "seconds", "of processors", *(kind.split()[0] for kind in COUNTS))
    for store, found in figures["stores"].items():
        for name, one in found.items():
            table.add_row(
                f"{store}: {name}",
                f"{one['seconds']:,.1f}",
                f"{one['cpu_seconds']:,.1f}",
                *(f"{one.get(kind, 0):,}" for kind in COUNTS),
            )
        table.add_section()
    console.print(table)
    say(console, f"{figures['conversations']:,} conversations in {figures['parts']:,} parts of {len(TABLES)} tables.")
