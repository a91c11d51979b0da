"""How long selection takes once the signals are there, beside reading their vectors once, and its peak memory."""

import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import pyarrow.dataset as pads
import pyarrow.parquet as pq
from rich.console import Console

from ards_ray.benchmark.processes import Watch
from ards_ray.benchmark.synthetic import SEED, write_synthetic
from ards_ray.cluster.workers import ray_workers
from ards_ray.config import CorpusSettings, Settings
from ards_ray.console import say, table_of
from ards_ray.errors import SettingsError
from ards_ray.methods.registry import METHODS
from ards_ray.mixture.select import select_mixture
from ards_ray.run.directory import RunDirectory
from ards_ray.run.stage import Job, perform
from ards_ray.run.state import RunState, versions
from ards_ray.signals.loop import Loop
from ards_ray.signals.vectors import VECTORS

GIB = 1 << 30
CORPUS = "corpus.json"
ARDS = METHODS["ards"]


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
    job = Job(run, settings, state, console, Loop(settings.proxy), model="synthetic")
    names = ("conversations", *(f"signals/{name}" for name in ARDS.signals(settings)))
    inputs = {name: {"benchmark": 2, "stage": name, "rows": rows, "dim": width} for name in names}
    if changed := state.differences(names[-1], inputs[names[-1]]):
        raise SettingsError(f"{run.url}: holds other signals ({'; '.join(changed)}); name another output")
    if not all(state.is_done(name, inputs[name]) for name in names):
        with ExitStack() as stack, job.progress("synthetic", rows, "conversations") as progress:
            stamps = {name: stack.enter_context(job.stage(name, inputs[name])) for name in names}
            for count in write_synthetic(run, rows, width, stamps):
                progress.advance(count)
        run.write_bytes(CORPUS, b"[]\n")  # Nothing reads its records: the conversations hold them.
        os.sync()
    for name in [name for name in state.stages if name.startswith("methods/")]:
        del state.stages[name]
    for part in run.finished():
        if part.path.startswith("methods/"):
            run.drop(part)
    return job


def _measure(job: Job) -> dict[str, Any]:
    run = job.run
    vectors = VECTORS.table.parts(run)
    paths = [(run.location / part.path).path for part in vectors]
    os.environ["RAY_ADDRESS"] = "local"  # A Ray of its own, so that all of its processes are seen.
    before = _read(paths)
    with ray_workers(job.settings.proxy, partial(say, job.console)) as job.workers, Watch() as watch:
        started = monotonic()
        for stage in ARDS.stages(job):
            perform(job, stage)
        select_mixture(job, ARDS)
        seconds = monotonic() - started
    after = _read(paths)
    reads = {
        name: {"seconds": [before[name][0], after[name][0]], "cpu": [before[name][1], after[name][1]]}
        for name in READERS
    }
    fastest = min(reads, key=lambda name: sum(reads[name]["seconds"]))
    read = sum(reads[fastest]["seconds"]) / 2
    read_cpu = sum(reads[fastest]["cpu"]) / 2
    return {
        "parts": len(vectors),
        "bytes": sum(part.bytes for part in vectors),
        "reads": reads,
        "read_by": fastest,
        "read_seconds": read,
        "read_cpu_seconds": read_cpu,
        "stages": {
            name.removeprefix("methods/ards/"): record.seconds
            for name, record in job.state.stages.items()
            if name.startswith("methods/")
        },
        "stages_seconds": seconds,
        "stages_cpu_seconds": watch.cpu_seconds,
        "ratio": seconds / read,
        "cpu_ratio": watch.cpu_seconds / read_cpu,
        "peaks": watch.peaks,
        "peak_bytes": max(watch.peaks.values()),
    }


def _read(paths: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Seconds, and those of processors, of reading all vectors once by each of the methods.

    In a process of its own: what pyarrow keeps of the files would count as memory of the stages.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_time_methods, paths).result()


def _time_methods(paths: Sequence[str]) -> dict[str, tuple[float, float]]:
    spent = {}
    for name, method in READERS.items():
        started, processors = monotonic(), process_time()
        method(paths)
        spent[name] = monotonic() - started, process_time() - processors
    return spent


def _read_dataset(paths: Sequence[str]) -> None:
    for _ in pads.dataset(list(paths), format="parquet").to_batches(columns=["vector"]):
        pass


def _read_files(paths: Sequence[str]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(_read_file, paths):
            pass


def _read_file(path: str) -> None:
    pq.ParquetFile(path).read(columns=["vector"], use_threads=False)


# The plain ways to read with pyarrow on all cores.
READERS: dict[str, Callable[[Sequence[str]], None]] = {"dataset": _read_dataset, "files": _read_files}


def _print(figures: dict[str, Any], console: Console) -> None:
    table = table_of("", "seconds", "of processors")
    for name, read in figures["reads"].items():
        for when, seconds, processors in zip(("before", "after"), read["seconds"], read["cpu"], strict=True):
            table.add_row(f"read by pyarrow, {name}, {when}", f"{seconds:,.1f}", f"{processors:,.1f}")
    table.add_section()
    for name, seconds in figures["stages"].items():
        table.add_row(name, f"{seconds:,.1f}")
    table.add_section()
    for title, name in ((f"read, {figures['read_by']}, mean", "read"), ("stages", "stages")):
        table.add_row(title, f"{figures[f'{name}_seconds']:,.1f}", f"{figures[f'{name}_cpu_seconds']:,.1f}")
    table.add_row("ratio", f"{figures['ratio']:.2f}", f"{figures['cpu_ratio']:.2f}")
    console.print(table)
    say(
        console,
        f"{figures['rows']:,} vectors of {figures['dim']:,} numbers, {figures['bytes'] / GIB:.1f} GiB in "
        f"{figures['parts']:,} parts: the stages take {figures['ratio']:.2f} times the time of reading.",
    )
    peaks = ", ".join(f"{name} {size / GIB:.2f}" for name, size in figures["peaks"].items())
    say(console, f"Peak memory of a process: {figures['peak_bytes'] / GIB:.2f} GiB ({peaks}).")
