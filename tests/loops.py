"""Selections in this process, by a plain loop, and what a run holds of them."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tables import read_table

from ards_ray import Selected, Settings, select
from ards_ray.given import Given, settings_of
from ards_ray.signals.loop import loop_workers

SMALL = {"subgroups.per_format": 2, "subgroups.members": 3, "runtime.shard_size": 64}


def loop_settings(inputs: Any, output: Path, methods: str = "ards", **settings: Any) -> Any:
    """Settings of a small run.

    Args:
        inputs: Corpus, images and model.
        output: The run.
        methods: Names of the methods.
        settings: Others, `__` for the dot in their keys.
    """
    given = {
        "corpus.files": [str(inputs.corpus)],
        "corpus.images": str(inputs.images),
        "proxy.model": str(inputs.model),
        "output": str(output),
        "methods": methods.split(","),
        **SMALL,
        **{key.replace("__", "."): value for key, value in settings.items()},
    }
    return settings_of(Settings, [Given(key, value, key) for key, value in given.items()])


def loop_select(
    inputs: Any, output: Path, methods: str = "ards", fresh: bool = False, retry_failed: bool = False, **settings: Any
) -> Selected:
    """Select mixtures by a plain loop; see `loop_settings`."""
    chosen = loop_settings(inputs, output, methods, **settings)
    return select(chosen, fresh=fresh, retry_failed=retry_failed, open_workers=loop_workers)


def selected_rows(run: Path, method: str) -> list[int]:
    """Rows of a method's mixture, as its ranking says."""
    table = read_table(run, f"methods/{method}/ranking")
    return table.filter(table["selected"])["row"].to_pylist()


def mixture_bytes(run: Path, method: str = "ards") -> bytes:
    return (run / "methods" / method / "mixture.json").read_bytes()


def table_digests(run: Path, folder: str) -> dict[str, str]:
    """A digest of each file of a table."""
    files = sorted((run / folder).glob("*.parquet"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def single(run: Path, path: str) -> pa.Table:
    """A table in a single file."""
    return pq.read_table(run / f"{path}.parquet")
