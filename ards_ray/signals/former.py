"""Runs of the layout before this one, whose signals stand in one table: read, so that they can be taken over."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.errors import SettingsError
from ards_ray.run.directory import RUN_FILE, THREADS, Part, RunDirectory
from ards_ray.run.fingerprint import Inputs
from ards_ray.signals.clean import CLEAN
from ards_ray.signals.corrupted import CORRUPTED
from ards_ray.signals.read_vectors import VectorsPart
from ards_ray.signals.signal import NONE, OK, Signal, SignalDetails
from ards_ray.signals.vectors import VECTORS

SCHEMA_VERSION = 3
# The signals of this version have the numbers of today's.
SIGNALS_VERSION = 3
_ENTRY = ("path", "rows", "bytes", "sha256", "fingerprint", "seconds", "vectors")


def is_former(run: RunDirectory) -> bool:
    """Whether a run has the former layout."""
    content = run.read_json(RUN_FILE)
    return isinstance(content, dict) and content.get("schema_version") == SCHEMA_VERSION


def former_inputs(run: RunDirectory) -> dict[str, Inputs]:
    """What each signal of a run of the former layout depends on, as today's signals tell it.

    Raises:
        SettingsError: its run.json cannot be read so.
    """
    record = _record(run)
    if record is None:
        return {}
    try:
        inputs = record["inputs"]
        proxy = dict(inputs["proxy"])
        vector = proxy.pop("vector")
        shared = {"proxy": proxy, "limits": inputs["limits"], "runtime.batch_positions": 0}
        version = 1 if inputs["version"] == SIGNALS_VERSION else 0
        own: list[tuple[Signal, dict[str, Any]]] = [
            (CLEAN, {}),
            (VECTORS, {"proxy.vector": vector}),
            (CORRUPTED, {"attacks": inputs["attacks"], "seed": inputs["seed"]}),
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"runtime.reuse: {run.url}/{RUN_FILE}: damaged (signals: {error})") from error
    return {
        signal.name: {"signal": signal.name, "version": version and signal.version, **shared, **of_signal}
        for signal, of_signal in own
    }


def former_parts(run: RunDirectory) -> list[VectorsPart]:
    """The signals parts of a run of the former layout, whose manifest is one folder of entries.

    Raises:
        SettingsError: an entry cannot be read so.
    """
    record = _record(run)
    stamp = record["fingerprint"] if record else ""
    entries = [path for path in run.list("manifest") if path.startswith("manifest/signals-part-")]
    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(lambda entry: _former_part(run, entry), sorted(entries)))
    return [part for part in parts if part.fingerprint == stamp]


def _former_part(run: RunDirectory, entry: str) -> VectorsPart:
    content = run.read_json(entry)
    try:
        details = content["details"]
        part: VectorsPart = Part(
            **{name: content[name] for name in _ENTRY},
            finished=0.0,
            details=SignalDetails(**{name: details[name] for name in ("ok", "failed", "formats", "scored", "width")}),
        )
    except (KeyError, TypeError) as error:
        raise SettingsError(f"runtime.reuse: {run.url}/{entry}: damaged ({error})") from error
    if not re.fullmatch(r"signals/part-\d{5,7}\.parquet", part.path, re.ASCII):
        raise SettingsError(f"runtime.reuse: {run.url}/{entry}: names {part.path}, which is not in the run")
    return part


def former_table(run: RunDirectory, parts: Sequence[VectorsPart], columns: Sequence[str]) -> pa.Table:
    """Columns of a signal out of the former table, its status among them."""
    table = run.read_columns(parts, columns)
    if CORRUPTED.columns(0)[-1].name in columns:
        nothing = pc.and_(pc.equal(table["status"], OK), pc.is_null(table["corruption"]))
        place = table.column_names.index("status")
        table = table.set_column(place, "status", pc.if_else(nothing, NONE, table["status"]))
    return table


def _record(run: RunDirectory) -> Any:
    content = run.read_json(RUN_FILE)
    stages = content.get("stages")
    return stages.get("signals") if isinstance(stages, dict) else None
