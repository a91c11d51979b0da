"""What a selection leaves behind: the run directory, as whoever reads it was promised."""

import hashlib
import json
import re
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from tables import SIGNALS, read_entries, read_signals, read_summary, read_table, times

WIDTH = 128
VECTOR = pa.list_(pa.float16(), WIDTH)
FLOATS = pa.list_(pa.float32(), WIDTH)
SIGNAL = {"row": pa.int64(), "status": pa.string(), "error": pa.string()}
TABLES = {
    "conversations": {
        "row": pa.int64(),
        "id": pa.string(),
        "source": pa.string(),
        "format": pa.string(),
        "images": pa.list_(pa.string()),
        "record": pa.large_string(),
    },
    "signals/clean": SIGNAL
    | {
        "clean_loss": pa.float32(),
        "clean_correct": pa.bool_(),
        "target_tokens": pa.int32(),
        "sequence_length": pa.int32(),
        "content": pa.binary(32),
    },
    "signals/vectors": SIGNAL | {"vector": VECTOR},
    "signals/corrupted": SIGNAL
    | {"corrupted_loss": pa.float32(), "corrupted_correct": pa.bool_(), "corruption": pa.string()},
    "methods/ards/subgroups/subgroups.parquet": {
        "subgroup": pa.string(),
        "format": pa.string(),
        "size": pa.int64(),
        "members": pa.int32(),
        "loss": pa.float64(),
        "weight": pa.float64(),
        "centroid": FLOATS,
        "mean_member": FLOATS,
    },
    "methods/ards/subgroups/members.parquet": {
        "subgroup": pa.string(),
        "rank": pa.int32(),
        "row": pa.int64(),
        "version": pa.string(),
        "loss_gap": pa.float32(),
        "clean_loss": pa.float32(),
        "corrupted_loss": pa.float32(),
        "vector": VECTOR,
    },
    "methods/ards/ranking": {
        "row": pa.int64(),
        "group": pa.string(),
        "score": pa.float32(),
        "eligible": pa.bool_(),
        "selected": pa.bool_(),
    },
}


@pytest.fixture(scope="module")
def finished(ray_job: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the demo's 140 conversations, made on Ray; to be copied, not changed."""
    run = tmp_path_factory.mktemp("ray") / "run"
    outcome = ray_job(run)
    assert outcome.code == 0, outcome.text
    return run


def member_rows(run: Path) -> set[int]:
    return set(pq.read_table(run / "methods/ards/subgroups/members.parquet")["row"].to_pylist())


@pytest.mark.parametrize("table", TABLES)
def test_tables_have_the_columns_that_were_promised(finished: Path, table: str) -> None:
    """Queries over a run break when a column is missing, renamed or of another type, in any of its parts."""
    files = [finished / table] if table.endswith(".parquet") else sorted((finished / table).glob("part-*.parquet"))
    assert files
    for file in files:
        schema = pq.read_schema(file)
        assert dict(zip(schema.names, schema.types, strict=True)) == TABLES[table]


def test_tables_need_no_extension_types(finished: Path) -> None:
    """A table with Ray's or anyone's own types opens nowhere else."""
    for file in finished.rglob("*.parquet"):
        for field in pq.read_schema(file):
            metadata = field.metadata or {}
            assert not isinstance(field.type, pa.BaseExtensionType), f"{file}: {field}"
            assert not any(key.startswith(b"ARROW:extension") for key in metadata), f"{file}: {field}"


def test_every_conversation_is_accounted_for(finished: Path, demo_inputs: Any) -> None:
    """A conversation that is in no table was lost, and nobody would know."""
    corpus = json.loads(demo_inputs.corpus.read_text())
    summary = read_summary(finished)
    conversations = read_table(finished, "conversations")
    for table in ("conversations", *(f"signals/{name}" for name in SIGNALS), "methods/ards/ranking"):
        assert read_table(finished, table)["row"].to_pylist() == list(range(len(corpus))), table
    assert [json.loads(record) for record in conversations["record"].to_pylist()] == corpus
    assert conversations["images"].to_pylist() == [[record["image"]] if "image" in record else [] for record in corpus]
    assert set(conversations["source"].to_pylist()) == {str(demo_inputs.corpus)}
    assert summary["conversations"] == summary["scored"] + summary["failed"] == len(corpus)
    assert summary["scored"] == read_signals(finished)["status"].to_pylist().count("ok")
    assert (finished / "failures.jsonl").read_text() == ""


def test_conversations_about_an_image_are_in_one_shard(finished: Path) -> None:
    """Noise and decoding are done once for each image, or the job takes longer by as much as images repeat."""
    files = sorted((finished / "conversations").glob("part-*.parquet"))
    images = [set(chain(*pq.read_table(file)["images"].to_pylist())) for file in files]
    assert len(images) > 2
    assert sum(map(len, images)) == len(set().union(*images))


def test_the_mixture_is_a_training_file_of_the_original_records(finished: Path, demo_inputs: Any) -> None:
    """A record that lost a key or was reordered is no longer the data that was paid for."""
    corpus = json.loads(demo_inputs.corpus.read_text())
    ranking = read_table(finished, "methods/ards/ranking").to_pylist()
    selected = [entry["row"] for entry in ranking if entry["selected"]]
    mixture = json.loads((finished / "methods/ards/mixture.json").read_text())
    assert mixture == [corpus[row] for row in selected]
    assert [list(record) for record in mixture] == [list(corpus[row]) for row in selected]
    assert len(selected) == int(0.3 * len(corpus)) == read_summary(finished)["selected"]
    assert not set(selected) & member_rows(finished)


def test_the_manifest_vouches_for_every_file(finished: Path) -> None:
    """The manifest is how a rerun knows that a part is whole; a wrong entry reuses a broken part for ever."""
    entries = read_entries(finished)
    stages = {record["fingerprint"] for record in json.loads((finished / "run.json").read_text())["stages"].values()}
    for entry in entries:
        content = (finished / entry["path"]).read_bytes()
        assert entry["bytes"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["seconds"] >= 0
        assert entry["fingerprint"] in stages or entry["path"] == "failures.jsonl"
        if entry["path"].endswith(".parquet"):
            assert entry["rows"] == pq.read_metadata(finished / entry["path"]).num_rows
    files = {str(path.relative_to(finished)) for path in finished.rglob("*.parquet")}
    assert {entry["path"] for entry in entries} == files | {"methods/ards/mixture.json", "failures.jsonl"}


def test_nothing_unfinished_stays_behind(finished: Path) -> None:
    """Temporary files of a run fill the disk that holds the vectors."""
    expected = {"config.yaml", "run.json", "manifest", "conversations", "signals", "methods", "failures.jsonl"}
    assert {path.name for path in finished.iterdir()} == expected | {".lease.json.lock"}
    assert {path.name for path in (finished / "signals").iterdir()} == set(SIGNALS)
    own = {"clusters", "subgroups", "scores", "ranking", "mixture.json", "summary.json"}
    assert {path.name for path in (finished / "methods/ards").iterdir()} == own
    assert not [path for path in finished.rglob(".*") if path.name != ".lease.json.lock"]


def test_run_json_says_what_each_stage_depended_on(finished: Path) -> None:
    """Years later this is how one finds out what a mixture was made of."""
    content = json.loads((finished / "run.json").read_text())
    assert content["schema_version"] == 4
    signals = [f"signals/{name}" for name in SIGNALS]
    stages = [f"methods/ards/{name}" for name in ("clusters", "subgroups", "scores", "mixture")]
    assert sorted(content["stages"]) == sorted(["conversations", *signals, *stages])
    for record in content["stages"].values():
        assert record["complete"]
        assert re.fullmatch("[0-9a-f]{64}", record["fingerprint"])
    assert content["stages"]["signals/corrupted"]["inputs"]["seed"] == 42
    assert content["stages"]["signals/corrupted"]["inputs"]["attacks"]["noise_step"] == 300
    assert not {"seed", "attacks"} & content["stages"]["signals/clean"]["inputs"].keys()
    assert {"ards_ray", "ray", "torch", "transformers"} <= set(content["versions"])


def test_the_summary_counts_what_is_in_the_tables(finished: Path) -> None:
    """Figures in papers are taken from the summary."""
    summary = read_summary(finished)
    conversations = read_table(finished, "conversations").to_pylist()
    ranking = read_table(finished, "methods/ards/ranking").to_pylist()
    subgroups = pq.read_table(finished / "methods/ards/subgroups/subgroups.parquet").to_pylist()
    selected = {entry["row"] for entry in ranking if entry["selected"]}
    for where, rows in (("corpus", range(len(conversations))), ("mixture", selected)):
        formats = [conversations[row]["format"] for row in rows]
        assert summary[where]["formats"] == {name: formats.count(name) for name in sorted(set(formats))}
        folders = [(conversations[row]["images"] or ["(no image)"])[0].split("/")[0] for row in rows]
        assert summary[where]["folders"] == {name: folders.count(name) for name in sorted(set(folders))}
    assert summary["members"] == len(member_rows(finished)) == sum(item["members"] for item in subgroups)
    for entry, subgroup in zip(summary["subgroups"], subgroups, strict=True):
        assert entry == {key: subgroup[key] for key in ("subgroup", "format", "size", "members", "loss", "weight")}
    formats = set(summary["corpus"]["formats"])
    assert set(summary["mean_cosine"]) == formats
    assert all(set(row) == formats for row in summary["mean_cosine"].values())
    stages = {"conversations", "clusters", "subgroups", "scores", "mixture"}
    assert set(summary["seconds"]) == stages | {f"signals/{name}" for name in SIGNALS}
    assert "ray" in summary["versions"]


def test_the_settings_of_a_run_can_be_used_again(finished: Path, tmp_path: Path, ray_command: Any) -> None:
    """A run that cannot be repeated from what it left behind cannot be explained."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    before = times(run)
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["subgroups"]["members"] == 3
    assert written["proxy"]["device"] == "cpu"
    assert written["proxy"]["dtype"] == "float32"
    outcome = ray_command("--config", run / "config.yaml", "--output", run)
    assert outcome.code == 0, outcome.text
    assert "Nothing to do" in outcome.text
    assert times(run) == before
    assert yaml.safe_load((run / "config.yaml").read_text()) == written | {"output": str(run)}


def test_two_workers_choose_what_one_chooses(finished: Path, tmp_path: Path, ray_job: Any) -> None:
    """A mixture that depends on how many workers ran cannot be made again. Two on two CPUs must not wait for ever."""
    outcome = ray_job(tmp_path / "run", settings=["runtime.workers=2"])
    assert outcome.code == 0, outcome.text
    mixture = "methods/ards/mixture.json"
    assert (tmp_path / "run" / mixture).read_bytes() == (finished / mixture).read_bytes()
    for table in ("conversations", *(f"signals/{name}" for name in SIGNALS), "methods/ards/ranking"):
        assert read_table(tmp_path / "run", table).equals(read_table(finished, table))
