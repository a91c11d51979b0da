"""Broken records and broken images by the thousand: each is a row, and none an error."""

import copy
import io
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tables import read_table

from ards_ray.config import CorpusSettings, LimitSettings, ProxySettings, RuntimeSettings, Settings
from ards_ray.corpus.readers import read_corpus
from ards_ray.corpus.stage import write_conversations
from ards_ray.errors import CorpusError
from ards_ray.models.checkpoint import checkpoint_digest
from ards_ray.run.directory import RunDirectory
from ards_ray.run.workers import Wanted
from ards_ray.signals.loop import Loop
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.work import SignalWork

RECORDS = 10_000
IMAGES = 400
FILES = 400
SCALARS = (
    None,
    True,
    -1,
    2**70,
    1e308,
    "",
    " ",
    "\ud800",
    "\0",
    "<image>",
    "human",
    "A",
    "../../etc/passwd",
    [],
    {},
    [[]],
)
SNIPPETS = (
    "<image>",
    "\n",
    "A.",
    "B. ",
    "(C)",
    "\ud83d",
    "\u202e",
    "\0",
    "é",
    "答",
    " " * 300,
    "x" * 5000,
    "</s>",
    "[INST]",
)


def mutated(record: Any, rng: random.Random) -> Any:
    """A copy with one to four changes somewhere in it."""
    record = copy.deepcopy(record)
    for _ in range(rng.randint(1, 4)):
        holder: Any = record
        while isinstance(holder, dict | list) and holder:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            key = rng.choice(keys)
            inner = holder[key]
            if not isinstance(inner, dict | list) or rng.random() < 0.25:
                change(holder, key, rng)
                break
            holder = inner
    return rng.choice(SCALARS) if rng.random() < 0.005 else record


def change(holder: Any, key: Any, rng: random.Random) -> None:
    value = holder[key]
    kind = rng.random()
    if isinstance(value, str) and kind < 0.6:
        place = rng.randint(0, len(value))
        end = min(len(value), place + rng.randint(0, 12))
        holder[key] = value[:place] + rng.choice(SNIPPETS) * rng.randint(0, 2) + value[end:]
    elif kind < 0.7:
        del holder[key]
    elif kind < 0.8 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(value))
    elif kind < 0.85:
        holder[key] = [value]
    elif kind < 0.87:
        for _ in range(200):
            value = [value]
        holder[key] = value
    else:
        holder[key] = rng.choice(SCALARS)


def broken(content: bytes, rng: random.Random) -> bytes:
    """A file with some bytes changed, cut, doubled or put in."""
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        kind, place = rng.random(), rng.randrange(len(damaged) + 1)
        if kind < 0.5 and damaged:
            damaged[place % len(damaged)] = rng.randrange(256)
        elif kind < 0.65:
            del damaged[place:]
        elif kind < 0.8:
            del damaged[place : place + rng.randint(1, 40)]
        else:
            damaged[place:place] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 40)))
    return bytes(damaged)


@pytest.fixture(scope="module")
def settings(demo_inputs: Any) -> Settings:
    return Settings(
        corpus=CorpusSettings(images=str(demo_inputs.images)),
        proxy=ProxySettings(model=str(demo_inputs.model), device="cpu", dtype="float32"),
        limits=LimitSettings(positions=64, pixels=1_000_000),
        runtime=RuntimeSettings(shard_size=500),
    )


@pytest.fixture
def scored(settings: Settings, tmp_path: Path) -> Callable[..., dict[str, list[dict[str, Any]]]]:
    """The rows of each signal of a corpus file, computed as the job computes them, in this process."""

    def run(corpus: Path, images: Path | None = None) -> dict[str, list[dict[str, Any]]]:
        files = CorpusSettings(files=(str(corpus),), images=str(images) if images else settings.corpus.images)
        chosen = replace(settings, corpus=files)
        output = tmp_path / "run"
        shards: dict[str, Wanted] = {
            part.name: dict.fromkeys(SIGNALS)
            for part in write_conversations(RunDirectory(str(output)), chosen, "conversations")
        }
        model = checkpoint_digest(Path(str(chosen.proxy.model)))
        work = SignalWork(str(output), chosen, model, {name: name for name in SIGNALS}, dict.fromkeys(SIGNALS, 1))
        assert {row["name"] for row in Loop(chosen.proxy).score(work, shards, len(shards))} == shards.keys()
        rows = {name: read_table(output, f"signals/{name}").to_pylist() for name in SIGNALS}
        for found in rows.values():
            assert [row["row"] for row in found] == list(range(len(found)))
        return rows

    return run


def errors_of(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The first error of each conversation with one; such a row has no values, every other one has them."""
    errors = {}
    for found in rows.values():
        for row in found:
            values = [value for name, value in row.items() if name not in ("row", "status", "error")]
            assert (row["status"] == "ok") == all(value is not None for value in values)
            assert (row["status"] == "failed") == (row["error"] is not None)
            if row["error"] is not None:
                errors.setdefault(row["row"], row["error"])
    return list(errors.values())


def test_mutated_records(
    demo_inputs: Any, scored: Callable[..., dict[str, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    """Corpora are merged from dozens of sources by scripts: whatever stands in them must not end the job."""
    rng = random.Random(1)
    originals = json.loads(demo_inputs.corpus.read_text())
    records = [mutated(rng.choice(originals), rng) for _ in range(RECORDS)]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(record) + "\n" for record in records))
    rows = scored(corpus)
    assert {len(found) for found in rows.values()} == {RECORDS}
    failed = errors_of(rows)
    # Both kinds, or the fuzzing does not get anywhere.
    assert RECORDS / 10 < len(failed) < RECORDS * 9 / 10
    assert not [error for error in failed if error.startswith("scoring failed")]


def test_mutated_corpus_files(demo_inputs: Any, tmp_path: Path) -> None:
    """A file that was cut or overwritten is an error that names it, and nothing else."""
    rng = random.Random(2)
    records = json.loads(demo_inputs.corpus.read_text())
    read = refused = 0
    for number in range(FILES):
        chosen = rng.sample(records, 3)
        content = json.dumps(chosen) if number % 2 else "".join(json.dumps(record) + "\n" for record in chosen)
        corpus = tmp_path / ("corpus.json" if number % 2 else "corpus.jsonl")
        corpus.write_bytes(broken(content.encode(), rng))
        try:
            list(read_corpus([str(corpus)]))
        except CorpusError as error:
            refused += str(corpus) in str(error)
        else:
            read += 1
    assert read + refused == FILES
    assert read
    assert refused


def test_mutated_images(
    demo_inputs: Any, scored: Callable[..., dict[str, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    """Downloaded pictures are cut, empty, or no pictures at all."""
    rng = random.Random(3)
    originals = []
    for file in sorted(demo_inputs.images.rglob("*.*"))[:20]:
        image = Image.open(file).convert("RGB")
        for name in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
            stream = io.BytesIO()
            image.save(stream, name)
            originals.append(stream.getvalue())
    images = tmp_path / "images"
    images.mkdir()
    records = []
    for number in range(IMAGES):
        (images / f"{number}.img").write_bytes(broken(rng.choice(originals), rng))
        turns = [("human", "<image>\nWhat is it?"), ("gpt", "A circle.")]
        conversation = [{"from": speaker, "value": text} for speaker, text in turns]
        records.append({"id": str(number), "image": f"{number}.img", "conversations": conversation})
    corpus = tmp_path / "corpus.json"
    corpus.write_text(json.dumps(records))
    rows = scored(corpus, images)
    assert {len(found) for found in rows.values()} == {IMAGES}
    errors = {error.split(": ")[0] for error in errors_of(rows)}
    assert errors <= {"image cannot be decoded", "image is too large", "image is empty"}
    for found in rows.values():
        assert any(row["status"] == "ok" for row in found)
