"""Corpora of other forms and several files, and runs at URLs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import SIGNALS, read_signals, read_summary, read_table, remove_entry, times

EMBEDDED = 30
PATHS = 30


@dataclass
class ParquetRun:
    """A selection from a Parquet file with embedded images, then one with paths."""

    embedded: Path
    paths: Path
    output: Path


@pytest.fixture(scope="module")
def records(demo_inputs: Any) -> list[dict[str, Any]]:
    return [
        record | {"note": f"kept {number}"} for number, record in enumerate(json.loads(demo_inputs.corpus.read_text()))
    ]


@pytest.fixture(scope="module")
def parquet_run(job: Any, records: Any, demo_inputs: Any, tmp_path_factory: pytest.TempPathFactory) -> ParquetRun:
    folder = tmp_path_factory.mktemp("parquet")
    run = ParquetRun(folder / "embedded.parquet", folder / "paths.parquet", folder / "run")
    rows = []
    for record in records[:EMBEDDED]:
        name = record.get("image")
        image = name and {"bytes": (demo_inputs.images / name).read_bytes(), "path": name}
        rows.append(
            {"id": record["id"], "image": image, "conversations": record["conversations"], "note": record["note"]}
        )
    pq.write_table(pa.Table.from_pylist(rows), run.embedded, row_group_size=7)
    columns = ("id", "image", "conversations", "note")
    rows = [{key: record.get(key) for key in columns} for record in records[EMBEDDED : EMBEDDED + PATHS]]
    pq.write_table(pa.Table.from_pylist(rows), run.paths)
    outcome = job(run.output, "--corpus", run.embedded, run.paths)
    assert outcome.code == 0, outcome.text
    assert f"Mixture: {run.output}/methods/ards/mixture" in outcome.text
    return run


def selected_rows(output: Path) -> list[int]:
    return [entry["row"] for entry in read_table(output, "methods/ards/ranking").to_pylist() if entry["selected"]]


def test_a_parquet_mixture_holds_the_original_rows(parquet_run: ParquetRun) -> None:
    """The mixture of a Parquet corpus is trained on as it is: without its images it would be worth nothing."""
    selected = selected_rows(parquet_run.output)
    assert len(selected) == int(0.3 * (EMBEDDED + PATHS)) == read_summary(parquet_run.output)["selected"]
    first = 0
    for number, corpus in enumerate((parquet_run.embedded, parquet_run.paths)):
        table = pq.read_table(corpus)
        rows = [row - first for row in selected if first <= row < first + table.num_rows]
        first += table.num_rows
        assert rows
        part = pq.read_table(parquet_run.output / "methods/ards/mixture" / f"part-{number:05d}.parquet")
        assert part.schema.equals(table.schema, check_metadata=True)
        assert part.equals(table.take(rows))
    assert not (parquet_run.output / "methods/ards/mixture.json").exists()


def test_embedded_images_are_scored_as_files_are(parquet_run: ParquetRun, finished: Path) -> None:
    """The same picture in another wrapping must get the same noise, loss and score."""
    ours = read_signals(parquet_run.output).to_pylist()
    files = read_signals(finished).to_pylist()
    assert len(ours) == EMBEDDED + PATHS
    for left, right in zip(ours, files, strict=False):
        assert left["corruption"] == right["corruption"]
        assert left["clean_loss"] == pytest.approx(right["clean_loss"], rel=1e-4)
        if left["corruption"] is not None:
            assert left["corrupted_loss"] == pytest.approx(right["corrupted_loss"], rel=1e-4)


def test_embedded_images_have_names_and_no_bytes_in_the_records(parquet_run: ParquetRun, records: Any) -> None:
    """The conversations table is read by people; a gigabyte of image bytes in it would end that."""
    for row, entry in enumerate(read_table(parquet_run.output, "conversations").to_pylist()):
        has_image = "image" in records[row]
        embedded = row < EMBEDDED
        name = f"{parquet_run.embedded}#{row}" if embedded else records[row].get("image")
        assert entry["images"] == ([name] if has_image else [])
        assert entry["source"] == str(parquet_run.embedded if embedded else parquet_run.paths)
        record = json.loads(entry["record"])
        assert record["conversations"] == records[row]["conversations"]
        assert record["note"] == f"kept {row}"
        assert len(entry["record"]) < 5000


def test_a_finished_parquet_run_is_left_alone(parquet_run: ParquetRun, job: Any) -> None:
    """Parquet corpora are told by their footer; one that is told anew each time would be scored each time."""
    before = times(parquet_run.output)
    outcome = job(parquet_run.output, "--corpus", parquet_run.embedded, parquet_run.paths)
    assert outcome.code == 0, outcome.text
    assert "Nothing to do" in outcome.text
    assert times(parquet_run.output) == before


def test_a_parquet_corpus_that_moved_can_still_be_scored(parquet_run: ParquetRun, job: Any, tmp_path: Path) -> None:
    """A run that was interrupted, and its corpus moved since, finds its embedded images where they are now."""
    moved = tmp_path / "moved.parquet"
    parquet_run.embedded.rename(moved)
    try:
        for name in SIGNALS:
            (parquet_run.output / f"signals/{name}/part-00000.parquet").unlink()
            remove_entry(parquet_run.output, f"signals/{name}/part-00000.parquet")
        outcome = job(parquet_run.output, "--corpus", moved, parquet_run.paths)
    finally:
        moved.rename(parquet_run.embedded)
    assert outcome.code == 0, outcome.text
    assert read_summary(parquet_run.output)["failed"] == 0


def test_several_files_of_json_and_json_lines_with_the_run_at_a_url(
    job: Any, records: Any, finished: Path, tmp_path: Path
) -> None:
    """Corpora come in pieces and runs lie in buckets: rows are counted through, and the mixture is one file."""
    files = [tmp_path / "one.json", tmp_path / "two.jsonl", tmp_path / "three.json"]
    files[0].write_text(json.dumps(records[:20]))
    files[1].write_text("".join(json.dumps(record) + "\n" for record in records[20:35]))
    files[2].write_text(json.dumps(records[35:50]))
    output = tmp_path / "run"
    outcome = job(f"file://{output}", "--corpus", *files, "--budget", "11")
    assert outcome.code == 0, outcome.text
    conversations = read_table(output, "conversations").to_pylist()
    assert [json.loads(entry["record"]) for entry in conversations] == records[:50]
    assert [entry["source"] for entry in conversations] == [str(files[0])] * 20 + [str(files[1])] * 15 + [
        str(files[2])
    ] * 15
    assert json.loads((output / "methods/ards/mixture.json").read_text()) == [
        records[row] for row in selected_rows(output)
    ]
    assert read_summary(output)["selected"] == 11
