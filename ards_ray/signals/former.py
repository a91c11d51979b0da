"""Runs of the layout before this one, whose signals stand in one table: read, so that they can be taken over."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.errors import SettingsError
from ards_ray.run.directory import RUN_FILE, RunDirectory
from ards_ray.run.fingerprint import Inputs
from ards_ray.signals.clean import CLEAN
from ards_ray.signals.corrupted import CORRUPTED
from ards_ray.signals.read_vectors import VectorsPart
from ards_ray.signals.signal import NONE, OK, Signal, SignalDetails
from ards_ray.signals.vectors import VECTORS

SCHEMA_VERSION = 3
# The signals of this version have the numbers of today's.
SIGNALS_VERSION = 3


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
    """The signals parts of a run of the former layout."""
    record = _record(run)
    stamp = record["fingerprint"] if record else ""
    return [
        VectorsPart(
            part.path,
            part.rows,
            part.bytes,
            part.sha256,
            part.fingerprint,
            part.seconds,
            SignalDetails(
                ok=part.details["ok"],
                failed=part.details["failed"],
                formats=part.details["formats"],
                scored=part.details["scored"],
                width=part.details["width"],
            ),
            part.vectors,
        )
        for part in run.parts("signals")
        if part.fingerprint == stamp
    ]


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
