"""MMBench: the TSV files of its authors and of VLMEvalKit."""

import base64
import csv
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ards_ray.errors import SettingsError
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.benchmarks.registry import BENCHMARKS, read_questions
from ards_ray.evaluation.images import open_image
from ards_ray.evaluation.prompts import render
from ards_ray.evaluation.question import NotEvaluated, Question

COLUMNS = ["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "source", "split"]


def picture(colour: str) -> str:
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def row(index: int, **more: Any) -> dict[str, Any]:
    values = dict.fromkeys(COLUMNS, "") | {"index": index, "question": f"Question {index}?", "answer": "B"}
    return values | {"A": "cat", "B": "dog", "image": picture("red"), "split": "dev"} | more


def write(path: Path, rows: list[dict[str, Any]], name: str = "mmbench_dev_20230712.tsv") -> str:
    columns = list(rows[0])
    with open(path / name, "w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def read(path: str, name: str = "mmbench") -> list[Question | NotEvaluated]:
    return list(read_questions(name, path, Plan()))


def colour_of(question: Question | NotEvaluated) -> tuple[int, ...]:
    assert isinstance(question, Question)
    return open_image(question.images[0], None, 100).getpixel((0, 0))  # type: ignore[return-value]


def test_questions(tmp_path: Path) -> None:
    """Text with line ends and quotes is quoted in the file; missing options are empty, missing hints nan or None."""
    rows = [
        row(0, hint="Look\nat \"it\".", C="cow", D="hen", answer="D"),
        row(1, hint="nan", C="", D="", image=picture("blue")),
    ]  # fmt: skip
    first, second = read(write(tmp_path, rows))
    assert isinstance(first, Question)
    assert (first.id, first.context, first.options, first.gold) == (
        "0",
        'Look\nat "it".',
        ("cat", "dog", "cow", "hen"),
        3,
    )
    assert isinstance(second, Question)
    assert (second.context, second.options, second.gold) == ("", ("cat", "dog"), 1)
    assert (colour_of(first), colour_of(second)) == ((255, 0, 0), (0, 0, 255))
    assert render(second, BENCHMARKS["mmbench"].style, (0, 1), "AB") == (
        "<image>\nQuestion 1?\nA. cat\nB. dog\nAnswer with the option's letter from the given choices directly."
    )


@pytest.mark.parametrize("word", ["None", "none", "nan", "NaN", "NULL", "N/A"])
def test_options_that_read_as_missing(tmp_path: Path, word: str) -> None:
    """`None` is an answer to `How many cats?`. Taken for a missing option it would leave another question."""
    texts = ("one", "two", "three")
    for place in range(4):
        options = (*texts[:place], word, *texts[place:])
        row_of = row(0, hint="None", answer="ABCD"[place], **dict(zip("ABCD", options, strict=True)))
        (question,) = read(write(tmp_path, [row_of]))
        assert isinstance(question, Question)
        assert (question.options, question.gold, question.context) == (options, place, "")


def test_missing_options(tmp_path: Path) -> None:
    """Empty fields at the end, and columns that the file does not have."""
    rows = [row(0, C="cow"), row(1, C=" ")]
    first, second = read(write(tmp_path, [{name: one[name] for name in one if name != "D"} for one in rows]))
    assert isinstance(first, Question)
    assert isinstance(second, Question)
    assert (first.options, second.options) == (("cat", "dog", "cow"), ("cat", "dog"))


def test_chinese(tmp_path: Path) -> None:
    """The Chinese questions have an instruction of their own."""
    path = write(tmp_path, [row(0, question="这是什么？", A="猫", B="狗")], "mmbench_dev_cn_20231003.tsv")
    (question,) = read(path, "mmbench_cn")
    assert isinstance(question, Question)
    assert render(question, BENCHMARKS["mmbench_cn"].style, (0, 1), "AB") == (
        "<image>\n这是什么？\nA. 猫\nB. 狗\n请直接回答选项字母。"
    )


def test_rotations_are_left_out(tmp_path: Path) -> None:
    """They are the same questions again: counted as questions they would weigh those with more options more."""
    rows = [row(7), row(1_000_007, A="dog", B="cat", answer="A", image="7"), row(2_000_009)]
    questions = read(write(tmp_path, rows))
    assert isinstance(questions[0], Question)
    assert questions[1:] == [NotEvaluated("2000009", "rotation without its question: 9")]


def test_images_of_other_rows(tmp_path: Path) -> None:
    """VLMEvalKit's files hold an image once and elsewhere the index of its row, before it or behind."""
    rows = [row(0, image="2"), row(1, image=picture("lime")), row(2, image=picture("blue")), row(3, image="1")]
    questions = read(write(tmp_path, rows, "MMBench_DEV_EN.tsv"))
    assert [colour_of(question) for question in questions] == [
        (0, 0, 255),
        (0, 255, 0),
        (0, 0, 255),
        (0, 255, 0),
    ]


def test_two_rows_with_one_index(tmp_path: Path) -> None:
    """A question shown with another one's picture is wrong without anybody noticing."""
    first, second = read(write(tmp_path, [row(1), row(1, question="Other?", image=picture("blue"))]))
    assert colour_of(first) == (255, 0, 0)
    assert second == NotEvaluated("1", "id of another question: 1")


def test_what_is_not_evaluated(tmp_path: Path) -> None:
    """Each of these would be a wrong answer, whatever the model says."""
    rows = [
        row(0, image="9"),
        row(1, image=""),
        row(2, answer=""),
        row(3, answer="D"),
        row(4, A="", C="cow"),
        row(5, image="0"),
    ]
    assert read(write(tmp_path, rows)) == [
        NotEvaluated("0", "image not found: row 9"),
        NotEvaluated("1", "image not found: the field is empty"),
        NotEvaluated("2", "no gold answer"),
        NotEvaluated("3", "gold answer out of range: D is none of A, B"),
        NotEvaluated("4", "empty option: number 1 of 3"),
        NotEvaluated("5", "image not found: row 0"),
    ]


def test_test_split_without_answers(tmp_path: Path) -> None:
    """The test split has no column for answers: said of every question, instead of an accuracy of nothing."""
    rows = [{name: value for name, value in row(0).items() if name != "answer"}]
    assert read(write(tmp_path, rows)) == [NotEvaluated("0", "no gold answer")]


def test_files_that_will_not_do(tmp_path: Path) -> None:
    """Another table, or one that broke off."""
    with pytest.raises(SettingsError, match=r"no mmbench_dev_20230712\.tsv or MMBench_DEV_EN\.tsv in this folder"):
        read(str(tmp_path))
    file = tmp_path / "a.tsv"
    file.write_text("index\tquestion\n1\tx\n")
    with pytest.raises(SettingsError, match=r"a\.tsv: no column 'A' among index, question"):
        read(str(file))
    file.write_text("index\tquestion\tA\tB\timage\n1\tx\n")
    with pytest.raises(SettingsError, match="row 1 has 2 fields"):
        read(str(file))
    file.write_text("index\tquestion\tA\tB\timage\nx\tx\ta\tb\t0\n")
    with pytest.raises(SettingsError, match="the index 'x' is no number"):
        read(str(file))
    file.write_text("index\tquestion\tA\tB\timage\n" + "1" * 5000 + "\tx\ta\tb\t0\n")
    with pytest.raises(SettingsError, match=r"the index '1+' is no number"):
        read(str(file))
    for content in ("", "index\tquestion\tA\tB\timage\n"):
        file.write_text(content)
        with pytest.raises(SettingsError, match="no questions for the benchmark mmbench"):
            read(str(file))
