"""SEED-Bench, A-OKVQA, ARC-Easy, BoolQ and GQA-OOD, each in the form that its authors publish; and the registry."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ards_ray.errors import SettingsError
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.benchmarks.registry import BENCHMARKS, benchmark_of, read_questions
from ards_ray.evaluation.images import FileImage
from ards_ray.evaluation.prompts import render
from ards_ray.evaluation.question import NotEvaluated, Question


def write(file: Path, content: Any) -> str:
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(file.parent)


def lines(records: list[dict[str, Any]]) -> str:
    return "\n".join(map(json.dumps, records))


def read(name: str, path: str) -> list[Question | NotEvaluated]:
    return list(read_questions(name, path, Plan()))


def errors(name: str, path: str) -> list[str]:
    return [question.error for question in read(name, path) if isinstance(question, NotEvaluated)]


# SEED-Bench


def seed(id: int | str, **more: Any) -> dict[str, Any]:
    choices = {"choice_a": "One", "choice_b": "Two", "choice_c": "Three", "choice_d": "Four"}
    fixed = {"data_id": "1454426_2591111986", "data_type": "image", "question": "How many towels are in the image?"}
    return {"answer": "A", "question_id": id, "question_type_id": 5} | choices | fixed | more


def test_seed_bench(tmp_path: Path) -> None:
    """Image files have no ending; the prompt is that of LLaVA's converted file."""
    content = {"questions": [seed("101669")], "question_type": {"Instances Counting": 5}}
    (question,) = read("seed_bench", write(tmp_path / "SEED-Bench.json", content))
    image = FileImage("SEED-Bench-image/1454426_2591111986")
    options = ("One", "Two", "Three", "Four")
    assert question == Question("101669", (image,), "", "How many towels are in the image?", options, 0)
    assert render(question, BENCHMARKS["seed_bench"].style, (0, 1, 2, 3), "ABCD") == (
        "<image>\nHow many towels are in the image?\nA. One\nB. Two\nC. Three\nD. Four\n"
        "Answer with the option's letter from the given choices directly."
    )


def test_seed_bench_videos_and_errors(tmp_path: Path) -> None:
    """Questions about videos are counted as what they are."""
    records = [
        seed(1, data_type="video", segment=[0, 1]),
        seed(2, answer=None),
        seed(3, choice_b=2),
        seed(4, answer="E"),
        {key: value for key, value in seed(5, answer="C").items() if key != "choice_b"},
    ]
    assert errors("seed_bench", write(tmp_path / "SEED-Bench.json", {"questions": records})) == [
        "not about an image: video",
        "no gold answer",
        "malformed question: no text under 'choice_b'",
        "gold answer out of range: E is none of A, B, C, D",
        "malformed question: no text under 'choice_b'",
    ]
    with pytest.raises(SettingsError, match=r"SEED-Bench\.json: no list under 'questions'"):
        read("seed_bench", write(tmp_path / "SEED-Bench.json", []))


# A-OKVQA


def okvqa(**more: Any) -> dict[str, Any]:
    fixed = {"split": "val", "image_id": 299207, "question_id": "22jbM6gDxdaMaunuzgrsBB", "question": "What is it?"}
    return fixed | {"choices": ["cat", "dog", "cow", "hen"], "correct_choice_idx": 3, "direct_answers": ["hen"]} | more


def test_a_okvqa(tmp_path: Path) -> None:
    """COCO's file names have twelve digits; the gold answer is an index from 0."""
    path = write(tmp_path / "aokvqa_v1p0_val.json", [okvqa()])
    image = FileImage("val2017/000000299207.jpg")
    assert read("a_okvqa", path) == [
        Question("22jbM6gDxdaMaunuzgrsBB", (image,), "", "What is it?", ("cat", "dog", "cow", "hen"), 3)
    ]


def test_a_okvqa_errors(tmp_path: Path) -> None:
    """The test split has no answers."""
    test = {key: value for key, value in okvqa(question_id="1").items() if key != "correct_choice_idx"}
    records = [test, okvqa(question_id="2", image_id=None), okvqa(question_id="3", correct_choice_idx=4)]
    assert errors("a_okvqa", write(tmp_path / "aokvqa_v1p0_val.json", records)) == [
        "no gold answer",
        "malformed question: no 'image_id'",
        "gold answer out of range: index 4, 4 options",
    ]
    with pytest.raises(SettingsError, match="not a list of questions"):
        read("a_okvqa", write(tmp_path / "aokvqa_v1p0_val.json", {}))


# ARC-Easy


def arc(id: str, labels: str, key: str | None, texts: tuple[str, ...] = ("ice", "rain", "wind")) -> dict[str, Any]:
    choices = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    return {"id": id, "question": {"stem": "Which falls?", "choices": choices}, "answerKey": key}


def flat(record: dict[str, Any]) -> dict[str, Any]:
    choices = record["question"]["choices"]
    columns = {name: [choice[name] for choice in choices] for name in ("text", "label")}
    return record | {"question": record["question"]["stem"], "choices": columns}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_arc_easy(tmp_path: Path, form: str) -> None:
    """Some questions number their options 1 to 4: read as letters, their gold answers would all be lost."""
    records = [arc("Mercury_1", "ABC", "B"), arc("MCAS_2", "123", "3")]
    if form == "jsonl":
        write(tmp_path / "ARC-Easy-Test.jsonl", lines(records))
    else:
        pq.write_table(pa.Table.from_pylist([flat(one) for one in records]), tmp_path / "test-00000-of-00001.parquet")
    assert read("arc_easy", str(tmp_path)) == [
        Question("Mercury_1", (), "", "Which falls?", ("ice", "rain", "wind"), 1),
        Question("MCAS_2", (), "", "Which falls?", ("ice", "rain", "wind"), 2),
    ]


def test_arc_easy_errors(tmp_path: Path) -> None:
    """A key that is no label, none at all, and options in no known form."""
    records = [arc("1", "ABC", "4"), arc("2", "ABC", ""), {"id": "3", "question": "Which?", "choices": ["a"]}]
    records.append({"id": "4", "question": "Which?", "choices": {"text": ["a", "b"], "label": ["A"]}})
    records.append(arc("5", "AAB", "A"))
    assert errors("arc_easy", write(tmp_path / "ARC-Easy-Test.jsonl", lines(records))) == [
        "gold answer out of range: 4 is none of A, B, C",
        "no gold answer",
        "malformed question: no options under 'choices'",
        "malformed question: not as many labels as texts of options",
        "malformed question: two options have the label A",
    ]


# BoolQ


def boolq(answer: bool | None) -> dict[str, Any]:
    question = {"question": "is it wet", "title": "Rain", "passage": "Rain is water."}
    return question | ({} if answer is None else {"answer": answer})


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_boolq(tmp_path: Path, form: str) -> None:
    """Yes and no as two options, the passage in front; one question mark."""
    records = [boolq(True), boolq(False) | {"question": "is it wet?"}]
    if form == "jsonl":
        write(tmp_path / "dev.jsonl", lines(records))
    else:
        pq.write_table(pa.Table.from_pylist(records), tmp_path / "validation-00000-of-00001.parquet")
    first, second = read("boolq", str(tmp_path))
    assert first == Question("0", (), "Rain is water.", "is it wet?", ("yes", "no"), 0)
    assert second == Question("1", (), "Rain is water.", "is it wet?", ("yes", "no"), 1)
    assert render(first, BENCHMARKS["boolq"].style, (1, 0), "AB") == (
        "Rain is water.\nis it wet?\nA. no\nB. yes\nAnswer with the option's letter from the given choices directly."
    )


def test_boolq_errors(tmp_path: Path) -> None:
    """The test file has no answers."""
    records = [boolq(None), boolq(True) | {"answer": "yes"}, {"question": "q", "answer": True}]
    records.append(boolq(True) | {"question": " "})
    assert errors("boolq", write(tmp_path / "dev.jsonl", lines(records))) == [
        "no gold answer",
        "malformed question: the answer is neither true nor false",
        "malformed question: no text under 'passage'",
        "no question",
    ]


# GQA-OOD


def gqa(**more: Any) -> dict[str, Any]:
    groups = {"global": "color", "local": "10c-bag_color"}
    fixed = {"imageId": "n161313", "isBalanced": True, "groups": groups, "fullAnswer": "The bag is light blue."}
    return fixed | {"question": "What colour is the bag?", "answer": "light blue"} | more


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("gqa", "testdev_balanced_questions.json"),
        ("gqa_ood_all", "ood_testdev_all.json"),
        ("gqa_ood_head", "ood_testdev_head.json"),
        ("gqa_ood_tail", "ood_testdev_tail.json"),
    ],
)
def test_gqa(tmp_path: Path, name: str, file: str) -> None:
    """Head and tail are the point of the benchmark: one for the other turns the result round."""
    for other in ("testdev_balanced_questions", "ood_testdev_all", "ood_testdev_head", "ood_testdev_tail"):
        write(tmp_path / f"{other}.json", {"0": gqa(question="Another?")})
    write(tmp_path / file, {"201640614": gqa()})
    (question,) = read(name, str(tmp_path))
    image = FileImage("n161313.jpg")
    assert question == Question("201640614", (image,), "", "What colour is the bag?", (), None, "light blue")
    assert render(question, BENCHMARKS[name].style, (), ()) == (
        "<image>\nWhat colour is the bag?\nAnswer the question using a single word or phrase."
    )


def test_gqa_errors(tmp_path: Path) -> None:
    """Without an answer nothing matches."""
    records = {"1": gqa(answer=None), "2": gqa(imageId=None), "3": []}
    assert errors("gqa", write(tmp_path / "testdev_balanced_questions.json", records)) == [
        "no gold answer",
        "malformed question: no text under 'imageId'",
        "malformed question: list instead of an object",
    ]
    with pytest.raises(SettingsError, match="not an object of questions by id"):
        read("gqa", write(tmp_path / "testdev_balanced_questions.json", []))


# All of them


def test_text_that_cannot_be_written(tmp_path: Path) -> None:
    """Half a surrogate pair anywhere would end the job when the results are written, after all has been asked."""
    records = {"1": gqa(answer="\ud800"), "2": gqa(imageId="\ud800"), "3\ud800": gqa(), "4": gqa(question="\ud800")}
    found = read("gqa", write(tmp_path / "testdev_balanced_questions.json", records))
    assert {one.error for one in found if isinstance(one, NotEvaluated)} == {"half a surrogate pair in the text"}
    assert [one.id for one in found] == ["1", "2", "3\\ud800", "4"]
    (kind,) = errors("seed_bench", write(tmp_path / "SEED-Bench.json", {"questions": [seed(1, data_type="\ud800")]}))
    assert kind == "not about an image: \\ud800"


def test_unknown_benchmark() -> None:
    """A slip in the name is told at once, with the names there are."""
    with pytest.raises(SettingsError, match="--benchmark sqa: no such benchmark; "):
        benchmark_of("sqa")
    with pytest.raises(SettingsError, match="--benchmark sqa: no such benchmark"):
        read_questions("sqa", "/nowhere", Plan())


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_missing_folders(tmp_path: Path, name: str) -> None:
    """The folder is named, and what is looked for in it."""
    with pytest.raises(SettingsError, match="gone: not found"):
        read(name, str(tmp_path / "gone"))
    with pytest.raises(SettingsError, match=f"{tmp_path}: no .* in this folder"):
        read(name, str(tmp_path))


def test_ids_that_repeat(tmp_path: Path) -> None:
    """Answers are kept by id: of two questions of one id, one would get the other's answer."""
    path = write(tmp_path / "aokvqa_v1p0_val.json", [okvqa(), okvqa(question="What else?")])
    assert read("a_okvqa", path)[1] == NotEvaluated(
        "22jbM6gDxdaMaunuzgrsBB", "id of another question: 22jbM6gDxdaMaunuzgrsBB"
    )
