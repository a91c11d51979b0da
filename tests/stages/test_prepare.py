"""Shards made ready: a picture that cannot be had costs its conversation."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ards_ray.config import CorpusSettings, Settings
from ards_ray.proxy.family import load_inputs
from ards_ray.run.directory import RunDirectory
from ards_ray.stages.conversations import write_conversations
from ards_ray.stages.prepare import prepare_shard

TURNS = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A house."}]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_corpus(file: Path, images: list[dict[str, Any]]) -> None:
    pq.write_table(pa.table({"conversations": pa.array([TURNS] * len(images)), "image": pa.array(images, IMAGE)}), file)


def errors(run: RunDirectory, settings: Settings, model: Path) -> list[str | None]:
    (part,) = run.parts("conversations")
    return [item.error for item in prepare_shard(run, part.name, settings, load_inputs(model)).conversations]


def test_embedded_images_that_cannot_be_had(demo_inputs: Any, tmp_path: Path) -> None:
    """One odd record among a million would end the job at every start."""
    file = tmp_path / "corpus.parquet"
    picture = next(path for path in demo_inputs.images.rglob("*") if path.is_file()).read_bytes()
    named = [{"bytes": None, "path": f"{file}#{row}"} for row in (0, 999)]
    write_corpus(file, [{"bytes": picture, "path": None}, *named, {"bytes": picture, "path": None}])
    settings = Settings(corpus=CorpusSettings(files=(str(file),), images=str(demo_inputs.images)))
    run = RunDirectory(str(tmp_path / "run"))
    list(write_conversations(run, settings, "stage"))
    spelled = [f"image is not a path: {file}#{row}" for row in (0, 999)]
    assert errors(run, settings, demo_inputs.model) == [None, *spelled, None]
    write_corpus(file, [{"bytes": picture, "path": None}, *named, {"bytes": None, "path": None}])
    lost = f"image not found: {file}#3 (its row embeds none any more)"
    assert errors(run, settings, demo_inputs.model) == [None, *spelled, lost]
