"""How long selection takes once the signals are there, beside reading their vectors once, and its peak memory."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow.dataset as pads
import pyarrow.parquet as pq
from rich.console import Console

from ards_ray.benchmark.memory import PeakMemory
from ards_ray.benchmark.synthetic import SEED, write_synthetic
from ards_ray.cluster.session import ray_session
from ards_ray.cluster.steps import Job, write_clusters, write_mixture, write_scores, write_subgroups
from ards_ray.config import CorpusSettings, Settings
from ards_ray.errors import SettingsError
from ards_ray.report.tables import say, table_of
from ards_ray.run.directory import RunDirectory
from ards_ray.run.state import RunState, versions

GIB = 1 << 30
CORPUS = "corpus.json"
MADE = ("clusters", "subgroups", "scores", "information", "mixture")


def measure_selection(rows: int, width: int, output: str | None, report: str | None, console: Console) -> None:
    """Measure the stages after the signals, as the job runs them on a local Ray, and print what was found.

    The page cache is equally warm for both: the vectors are read before and after the stages, and the mean counts.

    Args:
        rows: Conversations.
        width: Numbers in a conversation vector.
        output: Run directory for the synthetic parts, kept and used again; a temporary one if not given.
        report: File to which the figures are written as JSON.
        console: Where progress and figures go.

    Raises:
        SettingsError: the output holds something else.
    """
    folder = output or tempfile.mkdtemp(prefix="ards-ray-")
    try:
        job = _prepare(rows, width, folder, console)
        figures = {"rows": rows, "dim": width, "cpus": os.cpu_count(), **_measure(job), "versions": versions()}
    finally:
        if output is None:
            shutil.rmtree(folder)
    _print(figures, console)
    if report is not None:
        Path(report).write_text(json.dumps(figures, indent=2) + "\n")


def _prepare(rows: int, width: int, output: str, console: Console) -> Job:
    """A run that has conversations and signals and nothing after them."""
    run = RunDirectory(output)
    run.prepare()
    state = RunState(run)
    settings = Settings(corpus=CorpusSettings(files=(f"{run.url}/{CORPUS}",)), output=output, seed=SEED)
    job = Job(run, settings, state, console, model="synthetic")
    inputs = {"benchmark": 1, "rows": rows, "dim": width}
    if changed := state.differences("signals", inputs):
        raise SettingsError(f"{run.url}: holds other signals ({'; '.join(changed)}); name another output")
    if not state.is_done("signals", inputs):
        with job.stage("signals", inputs) as stage, job.progress("synthetic", rows, "conversations") as progress:
            for part in write_synthetic(run, rows, width, stage):
                progress.advance(part.rows)
        run.write_bytes(CORPUS, b"[]\n")  # Nothing reads its records: the conversations hold them.
        os.sync()
    for table in MADE:
        run.discard(table)
        state.stages.pop(table, None)
    return job


def _measure(job: Job) -> dict[str, Any]:
    run = job.run
    parts, signals = run.parts("conversations"), run.parts("signals")
    paths = [(run.location / part.path).path for part in signals]
    os.environ["RAY_ADDRESS"] = "local"  # A Ray of its own, so that all of its processes are seen.
    before = _read(paths)
    with ray_session(), PeakMemory() as memory:
        started = monotonic()
        write_clusters(job, signals)
        write_subgroups(job, signals)
        write_scores(job, signals)
        write_mixture(job, parts, signals, {})
        stages = monotonic() - started
    after = _read(paths)
    method = min(before, key=lambda name: before[name] + after[name])
    read = (before[method] + after[method]) / 2
    return {
        "parts": len(signals),
        "bytes": sum(part.bytes for part in signals),
        "read": {name: [round(before[name], 3), round(after[name], 3)] for name in before},
        "read_method": method,
        "read_seconds": read,
        "stages": {name: job.state.stages[name].seconds for name in ("clusters", "subgroups", "scores", "mixture")},
        "stages_seconds": stages,
        "ratio": stages / read,
        "peaks": memory.peaks,
        "peak_bytes": max(memory.peaks.values()),
    }


def _read(paths: Sequence[str]) -> dict[str, float]:
    """Seconds of reading all vectors once, by each plain way of pyarrow to use all cores."""
    methods: dict[str, Callable[[Sequence[str]], None]] = {"dataset": _read_dataset, "files": _read_files}
    seconds = {}
    for name, method in methods.items():
        started = monotonic()
        method(paths)
        seconds[name] = monotonic() - started
    return seconds


def _read_dataset(paths: Sequence[str]) -> None:
    for _ in pads.dataset(list(paths), format="parquet").to_batches(columns=["vector"]):
        pass


def _read_files(paths: Sequence[str]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(_read_file, paths):
            pass


def _read_file(path: str) -> None:
    pq.ParquetFile(path).read(columns=["vector"], use_threads=False)


def _print(figures: dict[str, Any], console: Console) -> None:
    table = table_of("", "seconds")
    for name, seconds in figures["stages"].items():
        table.add_row(name, f"{seconds:,.1f}")
    table.add_section()
    table.add_row("stages", f"{figures['stages_seconds']:,.1f}")
    for name, pair in figures["read"].items():
        table.add_row(f"read by pyarrow ({name}), before and after", ", ".join(f"{seconds:,.1f}" for seconds in pair))
    table.add_row(f"read ({figures['read_method']}, mean)", f"{figures['read_seconds']:,.1f}")
    console.print(table)
    say(
        console,
        f"{figures['rows']:,} vectors of {figures['dim']:,} numbers, {figures['bytes'] / GIB:.1f} GiB in "
        f"{figures['parts']:,} parts: the stages take {figures['ratio']:.2f} times the time of reading.",
    )
    peaks = ", ".join(f"{name} {size / GIB:.2f}" for name, size in figures["peaks"].items())
    say(console, f"Peak memory of a process: {figures['peak_bytes'] / GIB:.2f} GiB ({peaks}).")
