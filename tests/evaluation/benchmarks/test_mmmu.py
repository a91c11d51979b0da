"""MMMU: Parquet with options as the text of a list, and images that questions and options speak of."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ards_ray.errors import SettingsError
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.benchmarks.registry import BENCHMARKS, read_questions
from ards_ray.evaluation.images import ParquetImage, open_image
from ards_ray.evaluation.prompts import render
from ards_ray.evaluation.question import NotEvaluated, Question

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "question", "options", "explanation")),
        *((f"image_{number}", IMAGE) for number in range(1, 8)),
        *((name, pa.string()) for name in ("img_type", "answer", "topic_difficulty", "question_type", "subfield")),
    ]
)


def picture(colour: str) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": "a.png"}


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"validation_Art_{number}",
        "question": "What does <image 1> show?",
        "options": "['A Cat', 'It\\'s a dog', \"Two, \\\"cows\\\"\"]",
        "image_1": picture("red"),
        "answer": "B",
        "question_type": "multiple-choice",
        "explanation": "See <image 5>.",
    } | more


def write(file: Path, rows: list[dict[str, Any]]) -> str:
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
    return str(file)


def read(path: str) -> list[Question | NotEvaluated]:
    return list(read_questions("mmmu", path, Plan()))


def test_a_question(tmp_path: Path) -> None:
    """Options come as text; split at commas or quotes they would be others."""
    file = write(tmp_path / "validation-00000-of-00001.parquet", [row(1)])
    assert read(file) == [
        Question(
            "validation_Art_1",
            (ParquetImage(file, "image_1", 0),),
            "",
            "What does <image 1> show?",
            ("A Cat", "It's a dog", 'Two, "cows"'),
            1,
        )
    ]


def test_images_in_options(tmp_path: Path) -> None:
    """Options that are images lose their meaning without them; the explanation's image would give the answer away."""
    images = {f"image_{number}": picture(colour) for number, colour in ((2, "lime"), (3, "blue"), (5, "white"))}
    rows = [row(0), row(1, options="['<image 3>', '<image 2> left', 'none']", **images)]
    file = write(tmp_path / "validation-00000-of-00001.parquet", rows)
    question = read(file)[1]
    assert isinstance(question, Question)
    assert [open_image(image, None, 100).getpixel((0, 0)) for image in question.images] == [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
    ]
    assert render(question, BENCHMARKS["mmmu"].style, (1, 2, 0), "ABC") == (
        "<image>\n<image>\n<image>\nWhat does <image 1> show?\n(A) <image 2> left\n(B) none\n(C) <image 3>\n\n"
        "Answer with the option's letter from the given choices directly."
    )


def test_subjects(tmp_path: Path) -> None:
    """A subject has a folder of its own; the development and test splits beside are not validation questions."""
    for subject in ("Music", "Art"):
        write(tmp_path / subject / "validation-00000-of-00001.parquet", [row(1, id=f"validation_{subject}_1")])
        write(tmp_path / subject / "test-00000-of-00001.parquet", [row(1, id=f"test_{subject}_1", answer="?")])
    assert [question.id for question in read(str(tmp_path))] == ["validation_Art_1", "validation_Music_1"]


def test_what_is_not_evaluated(tmp_path: Path) -> None:
    """Open questions have no options, the test split no answers, and nine options are more than seven symbols."""
    rows = [
        row(1, question_type="open", options="[]", answer="12"),
        row(2, answer="?"),
        row(3, answer="D"),
        row(4, options="['a', 'b'"),
        row(5, options="__import__('os')"),
        row(6, options="{'a': 1}"),
        row(7, options=str([f"text {number}" for number in range(9)])),
    ]
    found = read(write(tmp_path / "a.parquet", rows))
    errors = [question.error for question in found if isinstance(question, NotEvaluated)]
    assert len(errors) == len(rows)
    assert errors[:3] == [
        "not multiple choice: open",
        "no gold answer",
        "gold answer out of range: D is none of A, B, C",
    ]
    assert all(error.startswith("malformed question: 'options' is no list") for error in errors[3:6])
    assert errors[6] == "more options than symbols: 9 options, 7 symbols"


def test_missing_files(tmp_path: Path) -> None:
    """A folder without the validation split, another table, a download that broke off."""
    with pytest.raises(SettingsError, match=r"no validation-\*\.parquet in this folder"):
        read(str(tmp_path))
    with pytest.raises(SettingsError, match="gone: not found"):
        read(str(tmp_path / "gone"))
    pq.write_table(pa.table({"id": ["1"]}), tmp_path / "a.parquet")
    with pytest.raises(SettingsError, match=r"a\.parquet: no column 'question' among id"):
        read(str(tmp_path / "a.parquet"))
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(SettingsError, match=r"b\.parquet: corrupt Parquet file"):
        read(str(tmp_path / "b.parquet"))
