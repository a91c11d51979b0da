"""Published benchmarks together in one evaluation, with questions of the same ids and pictures from everywhere."""

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluation_brute_force import INSTRUCTION, PlainModel
from PIL import Image

IDS = ("1", "2")
CHOICES = ("scienceqa", "mmbench", "mmbench_cn", "mmmu")


@pytest.fixture
def records(answering: Any) -> dict[str, list[dict[str, Any]]]:
    """For each benchmark with pictures two records of the trained model's, of different pictures."""
    some = iter(json.loads(answering.benchmark.read_text()))
    return {name: [next(some) for _ in IDS] for name in (*CHOICES, "gqa_ood_head")}


def write_all(folder: Path, records: dict[str, list[dict[str, Any]]], images: Path) -> dict[str, Path]:
    """Each benchmark as its authors publish it."""
    files = {name: folder / name for name in records}
    conversations = []
    for id, one in zip(IDS, records["scienceqa"], strict=True):
        lines = [f"{letter}. {text}" for letter, text in zip("ABCD", one["options"], strict=False)]
        turns = ["\n".join(["<image>", one["question"], *lines]), "ABCD"[one["answer"]]]
        said = [{"from": who, "value": text} for who, text in zip(("human", "gpt"), turns, strict=True)]
        conversations.append({"id": id, "image": one["image"], "conversations": said})
    files["scienceqa"].write_text(json.dumps(conversations))

    for name in ("mmbench", "mmbench_cn"):
        with files[name].open("w", newline="") as stream:
            writer = csv.writer(stream, delimiter="\t")
            writer.writerow(["index", "question", "hint", "A", "B", "C", "D", "answer", "image"])
            for id, one in zip(IDS, records[name], strict=True):
                encoded = base64.b64encode((images / one["image"]).read_bytes()).decode()
                options = [*one["options"], "", ""][:4]
                writer.writerow([id, one["question"], "", *options, "ABCD"[one["answer"]], encoded])

    columns: dict[str, list[Any]] = {
        "id": list(IDS),
        "question": [one["question"] for one in records["mmmu"]],
        "options": [str(one["options"]) for one in records["mmmu"]],
        "answer": ["ABCD"[one["answer"]] for one in records["mmmu"]],
        "question_type": ["multiple-choice"] * len(IDS),
        "image_1": [{"bytes": (images / one["image"]).read_bytes(), "path": None} for one in records["mmmu"]],
    }
    files["mmmu"] = folder / "validation-00000-of-00001.parquet"
    pq.write_table(pa.table(columns), files["mmmu"])

    (folder / "gqa").mkdir()
    asked = {}
    for id, one in zip(IDS, records["gqa_ood_head"], strict=True):
        Image.open(images / one["image"]).convert("RGB").save(folder / "gqa" / f"n{id}.jpg", quality=95)
        asked[id] = {"question": one["question"], "imageId": f"n{id}", "answer": one["options"][one["answer"]]}
    files["gqa_ood_head"].write_text(json.dumps(asked))

    files["boolq"] = folder / "dev.jsonl"
    passage = {"question": "is a star red", "passage": "A star is red.", "answer": True, "title": "Star"}
    files["boolq"].write_text("\n".join(json.dumps(passage) for _ in IDS))
    return files


def test_published_benchmarks_together(
    evaluate: Callable[..., tuple[int, str]],
    answering: Any,
    records: dict[str, list[dict[str, Any]]],
    tmp_path: Path,
) -> None:
    """A picture or an answer of another benchmark's question 1 would make a wrong number that looks like any other."""
    files = write_all(tmp_path, records, answering.images)
    code, text = evaluate(
        *("--model", answering.model, "--output", tmp_path / "run", "--attacks", "clean,permutation"),
        *("--benchmark", *(f"{name}={file}" for name, file in files.items()), "--answer-tokens", 8),
        *("--images", answering.images, f"gqa_ood_head={tmp_path / 'gqa'}"),
    )
    assert code == 0, text

    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {name: (one["questions"], one["not_evaluated"]) for name, one in results.items()} == {
        name: (len(IDS), {}) for name in files
    }
    assert results["gqa_ood_head"]["permutation"] is None
    model = PlainModel(answering.model)
    rows = pq.read_table(tmp_path / "run" / "answers.parquet").to_pylist()
    for row in (row for row in rows if row["benchmark"] in records):
        record = records[row["benchmark"]][IDS.index(row["question"])]
        content = (answering.images / record["image"]).read_bytes()
        if row["benchmark"] == "gqa_ood_head":
            content = (tmp_path / "gqa" / f"n{row['question']}.jpg").read_bytes()
        else:
            assert "ABCD".index(row["gold"]) == row["order"].index(record["answer"])
        expected = model.answer(row["prompt"].removeprefix("<image>\n"), Image.open(io.BytesIO(content)))
        assert row["answer"].removesuffix("…") == expected
    # The trained model knows its own form: with another picture it would say something else.
    given = {(row["benchmark"], row["question"]): row for row in rows if row["attack"] == "clean"}
    assert all(given["scienceqa", id]["correct"] for id in IDS)
    assert given["scienceqa", "1"]["prompt"].endswith(INSTRUCTION)
    assert given["mmbench_cn", "1"]["prompt"].endswith("请直接回答选项字母。")
    assert len({(row["benchmark"], row["question"], row["attack"], tuple(row["order"])) for row in rows}) == len(rows)
