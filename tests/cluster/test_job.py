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
from tables import read_summary, read_table, times

WIDTH = 128
VECTOR = pa.list_(pa.float16(), WIDTH)
FLOATS = pa.list_(pa.float32(), WIDTH)
TABLES = {
    "conversations": {
        "row": pa.int64(),
        "id": pa.string(),
        "source": pa.string(),
        "format": pa.string(),
        "images": pa.list_(pa.string()),
        "record": pa.large_string(),
    },
    "signals": {
        "row": pa.int64(),
        "status": pa.string(),
        "error": pa.string(),
        "vector": VECTOR,
        "clean_loss": pa.float32(),
        "corrupted_loss": pa.float32(),
        "clean_correct": pa.bool_(),
        "corrupted_correct": pa.bool_(),
        "corruption": pa.string(),
        "target_tokens": pa.int32(),
        "sequence_length": pa.int32(),
        "content": pa.binary(32),
    },
    "subgroups/subgroups.parquet": {
        "subgroup": pa.string(),
        "format": pa.string(),
        "size": pa.int64(),
        "members": pa.int32(),
        "loss": pa.float64(),
        "weight": pa.float64(),
        "centroid": FLOATS,
        "mean_member": FLOATS,
    },
    "subgroups/members.parquet": {
        "subgroup": pa.string(),
        "rank": pa.int32(),
        "row": pa.int64(),
        "version": pa.string(),
        "loss_gap": pa.float32(),
        "clean_loss": pa.float32(),
        "corrupted_loss": pa.float32(),
        "vector": VECTOR,
    },
    "information": {
        "row": pa.int64(),
        "subgroup": pa.string(),
        "score": pa.float32(),
        "member": pa.bool_(),
        "selected": pa.bool_(),
    },
}


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
    signals = read_table(finished, "signals")
    assert conversations["row"].to_pylist() == signals["row"].to_pylist() == list(range(len(corpus)))
    assert [json.loads(record) for record in conversations["record"].to_pylist()] == corpus
    assert conversations["images"].to_pylist() == [[record["image"]] if "image" in record else [] for record in corpus]
    assert set(conversations["source"].to_pylist()) == {str(demo_inputs.corpus)}
    assert summary["conversations"] == summary["scored"] + summary["failed"] == len(corpus)
    assert summary["scored"] == signals["status"].to_pylist().count("ok")
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
    information = read_table(finished, "information").to_pylist()
    selected = [entry["row"] for entry in information if entry["selected"]]
    mixture = json.loads((finished / "mixture.json").read_text())
    assert mixture == [corpus[row] for row in selected]
    assert [list(record) for record in mixture] == [list(corpus[row]) for row in selected]
    assert len(selected) == int(0.3 * len(corpus)) == read_summary(finished)["selected"]
    assert not [entry for entry in information if entry["selected"] and entry["member"]]


def test_the_manifest_vouches_for_every_file(finished: Path) -> None:
    """The manifest is how a rerun knows that a part is whole; a wrong entry reuses a broken part for ever."""
    entries = [json.loads(file.read_text()) for file in sorted((finished / "manifest").glob("*.json"))]
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
    assert {entry["path"] for entry in entries} == files | {"mixture.json", "failures.jsonl"}


def test_nothing_unfinished_stays_behind(finished: Path) -> None:
    """Temporary files of a run fill the disk that holds the vectors."""
    expected = {"config.yaml", "run.json", "manifest", "conversations", "signals", "clusters", "subgroups", "scores"}
    expected |= {"information", "mixture.json", "failures.jsonl", "summary.json", ".lease.json.lock"}
    assert {path.name for path in finished.iterdir()} == expected
    assert not [path for path in finished.rglob(".*") if path.name != ".lease.json.lock"]


def test_run_json_says_what_each_stage_depended_on(finished: Path) -> None:
    """Years later this is how one finds out what a mixture was made of."""
    content = json.loads((finished / "run.json").read_text())
    assert content["schema_version"] == 3
    assert list(content["stages"]) == ["conversations", "signals", "clusters", "subgroups", "scores", "mixture"]
    for record in content["stages"].values():
        assert record["complete"]
        assert re.fullmatch("[0-9a-f]{64}", record["fingerprint"])
    assert content["stages"]["signals"]["inputs"]["seed"] == 42
    assert content["stages"]["signals"]["inputs"]["attacks"]["noise_step"] == 300
    assert {"ards_ray", "ray", "torch", "transformers"} <= set(content["versions"])


def test_the_summary_counts_what_is_in_the_tables(finished: Path) -> None:
    """Figures in papers are taken from the summary."""
    summary = read_summary(finished)
    conversations = read_table(finished, "conversations").to_pylist()
    information = read_table(finished, "information").to_pylist()
    subgroups = pq.read_table(finished / "subgroups" / "subgroups.parquet").to_pylist()
    selected = {entry["row"] for entry in information if entry["selected"]}
    for where, rows in (("corpus", range(len(conversations))), ("mixture", selected)):
        formats = [conversations[row]["format"] for row in rows]
        assert summary[where]["formats"] == {name: formats.count(name) for name in sorted(set(formats))}
        folders = [(conversations[row]["images"] or ["(no image)"])[0].split("/")[0] for row in rows]
        assert summary[where]["folders"] == {name: folders.count(name) for name in sorted(set(folders))}
    assert summary["members"] == sum(entry["member"] for entry in information) == sum(s["members"] for s in subgroups)
    for entry, subgroup in zip(summary["subgroups"], subgroups, strict=True):
        assert entry == {key: subgroup[key] for key in ("subgroup", "format", "size", "members", "loss", "weight")}
    formats = set(summary["corpus"]["formats"])
    assert set(summary["mean_cosine"]) == formats
    assert all(set(row) == formats for row in summary["mean_cosine"].values())
    assert set(summary["seconds"]) == {"conversations", "signals", "clusters", "subgroups", "scores", "mixture"}
    assert "ray" in summary["versions"]


def test_the_settings_of_a_run_can_be_used_again(finished: Path, tmp_path: Path, command: Any) -> None:
    """A run that cannot be repeated from what it left behind cannot be explained."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    before = times(run)
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["subgroups"]["members"] == 3
    assert written["proxy"]["device"] == "cpu"
    assert written["proxy"]["dtype"] == "float32"
    outcome = command("--config", run / "config.yaml", "--output", run)
    assert outcome.code == 0, outcome.text
    assert "Nothing to do" in outcome.text
    assert times(run) == before
    assert yaml.safe_load((run / "config.yaml").read_text()) == written | {"output": str(run)}


def test_two_workers_choose_what_one_chooses(finished: Path, tmp_path: Path, job: Any) -> None:
    """A mixture that depends on how many workers ran cannot be made again. Two on two CPUs must not wait for ever."""
    outcome = job(tmp_path / "run", settings=["runtime.workers=2"])
    assert outcome.code == 0, outcome.text
    assert (tmp_path / "run" / "mixture.json").read_bytes() == (finished / "mixture.json").read_bytes()
    for table in ("conversations", "signals", "information"):
        assert read_table(tmp_path / "run", table).equals(read_table(finished, table))
