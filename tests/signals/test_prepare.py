"""Shards made ready: a picture that cannot be had costs its conversation."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from families import write_llava_next, write_qwen
from PIL import Image

from ards_ray.config import CorpusSettings, Links, Settings
from ards_ray.corpus.stage import write_conversations
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.corruption.attack import attack_on
from ards_ray.models.family import load_inputs
from ards_ray.run.directory import RunDirectory
from ards_ray.signals.prepare import prepare_shard
from ards_ray.signals.prepared import PreparedShard
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.work import SignalWork

TURNS = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A house."}]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_corpus(file: Path, images: list[dict[str, Any]]) -> None:
    pq.write_table(pa.table({"conversations": pa.array([TURNS] * len(images)), "image": pa.array(images, IMAGE)}), file)


def prepared(run: RunDirectory, settings: Settings, model: Path) -> PreparedShard:
    """The run's only shard, asked for all signals."""
    (part,) = CONVERSATIONS.parts(run)
    work = SignalWork(run.url, settings, model="")
    return prepare_shard(work, part.name, dict.fromkeys(SIGNALS), load_inputs(model))


def errors(run: RunDirectory, settings: Settings, model: Path) -> list[str | None]:
    return [item.error for item in prepared(run, settings, model).conversations]


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


def pictures_of(corpus: Path, images: Path, model: Path, folder: Path, links: Links = "refuse") -> Any:
    settings = Settings(corpus=CorpusSettings(files=(str(corpus),), images=str(images), links=links))
    run = RunDirectory(str(folder))
    list(write_conversations(run, settings, "stage"))
    return prepared(run, settings, model)


def test_exif_orientation_as_in_the_familys_training(demo_inputs: Any, tmp_path: Path) -> None:
    """LLaVA's training sees a photo as it is stored, Qwen's as it is looked at; under noise it is the same photo."""
    exif = Image.Exif()
    exif[0x0112] = 6
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (112, 56), "red").save(images / "phone.jpg", exif=exif)
    (tmp_path / "corpus.json").write_text(json.dumps([{"image": "phone.jpg", "conversations": TURNS}]))
    write_llava_next(tmp_path / "next", demo_inputs.model, "llama")
    write_qwen(tmp_path / "qwen", [TURNS[0]["value"]] * 100)
    for name, size in (("llava", (56, 112)), ("next", (56, 112)), ("qwen", (112, 56))):
        model = demo_inputs.model if name == "llava" else tmp_path / name
        shard = pictures_of(tmp_path / "corpus.json", images, model, tmp_path / f"run-{name}")
        assert [item.attack for item in shard.conversations] == ["noise"]
        assert [picture.size for picture in shard.pictures] == [size, size]


def test_links_of_the_user(demo_inputs: Any, tmp_path: Path) -> None:
    """A folder that is put together from links works once the user says so, and until then the error says how."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "linked").symlink_to(demo_inputs.images)
    picture = next(path for path in demo_inputs.images.rglob("*") if path.is_file())
    name = f"linked/{picture.relative_to(demo_inputs.images)}"
    (tmp_path / "corpus.json").write_text(json.dumps([{"image": name, "conversations": TURNS}]))
    given = (tmp_path / "corpus.json", tmp_path / "images", demo_inputs.model)
    (refused,) = pictures_of(*given, tmp_path / "refuse").conversations
    assert refused.error is not None
    assert refused.error.startswith(f"image path leaves the image folder: {name} (by a symbolic link; ")
    assert "corpus.links=follow" in refused.error
    (followed,) = pictures_of(*given, tmp_path / "follow", "follow").conversations
    assert followed.error is None


def test_several_images_fail_when_they_are_made_ready(demo_inputs: Any, tmp_path: Path) -> None:
    """No family shows two pictures: scored with one of them, the conversation would be another one."""
    names = sorted(str(path.relative_to(demo_inputs.images)) for path in demo_inputs.images.rglob("*.*"))[:2]
    turns = [{"from": "human", "value": "<image><image>\nWhat is it?"}, {"from": "gpt", "value": "A house."}]
    records = [{"image": names, "conversations": turns}, {"image": names, "conversations": TURNS}]
    (tmp_path / "corpus.json").write_text(json.dumps([*records, {"image": names[:1], "conversations": TURNS}]))
    shard = pictures_of(tmp_path / "corpus.json", demo_inputs.images, demo_inputs.model, tmp_path / "run")
    said = "several images: 2 in one conversation"
    assert [item.error for item in shard.conversations] == [said, said, None]
    run = RunDirectory(str(tmp_path / "run"))
    (part,) = run.parts("conversations")
    table = run.read_table(part.path)
    assert table["images"].to_pylist() == [names, names, names[:1]]
    assert table["format"].to_pylist() == ["image"] * 3
    # Nor does such a conversation count among those that can be attacked.
    assert [attack_on(entry, Settings()) for entry in table.to_pylist()] == [None, None, "noise"]
