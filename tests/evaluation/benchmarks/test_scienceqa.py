"""ScienceQA: the authors' layout and LLaVA's conversations give the same questions and prompts."""

import json
from pathlib import Path
from typing import Any

import pytest

from ards_ray.errors import SettingsError
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.benchmarks.registry import read_questions
from ards_ray.evaluation.images import FileImage
from ards_ray.evaluation.prompts import LETTER, render
from ards_ray.evaluation.question import NotEvaluated, Question


def problem(**more: Any) -> dict[str, Any]:
    return {
        "question": "Which is it?",
        "choices": ["cat", "dog", "cow"],
        "answer": 2,
        "hint": "",
        "image": None,
        "task": "closed choice",
        "grade": "grade2",
        "split": "test",
    } | more


def conversation(id: str, question: str, answer: str, image: str | None = None) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": id, "conversations": turns} | ({"image": image} if image else {})


def write(folder: Path, problems: dict[str, Any], test: list[Any]) -> str:
    (folder / "problems.json").write_text(json.dumps(problems))
    (folder / "pid_splits.json").write_text(json.dumps({"train": ["1"], "test": test}))
    return str(folder)


def write_llava(folder: Path, records: Any) -> str:
    (folder / "llava_test_CQM-A.json").write_text(json.dumps(records))
    return str(folder)


def read(path: str, name: str = "scienceqa") -> list[Question | NotEvaluated]:
    return list(read_questions(name, path, Plan()))


def test_authors_layout(tmp_path: Path) -> None:
    """Questions of other splits may be in the training data."""
    problems = {"1": problem(), "2": problem(answer=0), "30": problem(hint="On a farm.", image="image.png")}
    assert read(write(tmp_path, problems, ["2", "30"])) == [
        Question("2", (), "", "Which is it?", ("cat", "dog", "cow"), 0),
        Question(
            "30", (FileImage("test/30/image.png"),), "Context: On a farm.", "Which is it?", ("cat", "dog", "cow"), 2
        ),
    ]


def test_both_layouts_give_the_same_prompts(tmp_path: Path) -> None:
    """Numbers from one would not compare with numbers from the other, or with LLaVA's."""
    text = "<image>\nContext: On a farm.\nWhich is it?\nA. cat\nB. dog\nC. cow"
    (tmp_path / "llava").mkdir()
    (theirs,) = read(write_llava(tmp_path / "llava", [conversation("30", text, "C", "30/image.png")]))
    (ours,) = read(write(tmp_path, {"30": problem(hint="On a farm.", image="image.png")}, ["30"]))
    assert isinstance(theirs, Question)
    assert isinstance(ours, Question)
    assert (theirs.options, theirs.gold) == (ours.options, ours.gold)
    assert theirs.images == (FileImage("30/image.png"),)
    for order in [(0, 1, 2), (2, 0, 1)]:
        assert render(theirs, LETTER, order, "ABC") == render(ours, LETTER, order, "ABC")
    assert render(theirs, LETTER, (0, 1, 2), "ABC") == f"{text}\n{LETTER.instruction}"


@pytest.mark.parametrize(
    ("text", "stem", "options"),
    [
        ("Which closing?\nA. Love,\nZoe\nB. love,\nZoe", "Which closing?", ("Love,\nZoe", "love,\nZoe")),
        ("Read.\n\nA. x\nB. y\n\nWhich?\nA. p\nB. q", "Read.\n\nA. x\nB. y\n\nWhich?", ("p", "q")),
        ("Which?\nA. U.S. history\nB. a fable", "Which?", ("U.S. history", "a fable")),
        ("Which?\nA. Apple\nBanana split\nB. Cat", "Which?", ("Apple\nBanana split", "Cat")),
    ],
)
def test_options_of_conversations(tmp_path: Path, text: str, stem: str, options: tuple[str, ...]) -> None:
    """The reference cuts options of several lines and takes lines of the question for options."""
    (question,) = read(write_llava(tmp_path, [conversation("1", text, "B")]))
    assert question == Question("1", (), "", stem, options, 1)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("Which?\nA. x\nC. y", "labels A, C"),
        ("Which?\nA. x\nB. y\nB. z", "labels A, B, B"),
        ("Which?\nA. Dear Sir,\nA. Lincoln\nB. Hi,\nB. Obama", "labels A, B, B"),
        ("Which one?", "no line starts with 'A. '"),
    ],
)
def test_options_that_cannot_be_told(tmp_path: Path, text: str, labels: str) -> None:
    """Guessing where an option starts gives a question that nobody wrote."""
    (question,) = read(write_llava(tmp_path, [conversation("1", text, "A")]))
    assert question == NotEvaluated("1", f"options cannot be told from the text: {labels}")


def test_images_alone(tmp_path: Path) -> None:
    """LLaVA reports ScienceQA-IMG: the questions with an image."""
    problems = {"2": problem(), "30": problem(image="image.png")}
    (question,) = read(write(tmp_path, problems, ["2", "30"]), "scienceqa_img")
    assert question.id == "30"
    problems["2"] = problem(choices=[])
    assert [one.id for one in read(write(tmp_path, problems, ["2", "30"]), "scienceqa_img")] == ["30"]


def test_texts_alone(tmp_path: Path) -> None:
    """The questions without an image need no image folder."""
    problems = {"2": problem(), "30": problem(image="image.png")}
    assert [one.id for one in read(write(tmp_path, problems, ["2", "30"]), "scienceqa_text")] == ["2"]


def test_what_is_not_evaluated(tmp_path: Path) -> None:
    """One bad problem costs one question, and says why."""
    problems = {
        "1": problem(answer=3),
        "2": problem(answer=None),
        "3": problem(choices=["x"]),
        "4": problem(choices=["x", 1]),
        "5": problem(question=None),
        "7": problem(answer=True),
        "8": problem(choices=["same", "same"], answer=1),
    }
    found = read(write(tmp_path, problems, [1, 2, 3, 4, 5, 6, 7, 8, 8]))
    assert [question.error for question in found if isinstance(question, NotEvaluated)] == [
        "gold answer out of range: index 3, 3 options",
        "no gold answer",
        "fewer than two options: 1",
        "malformed question: no list of texts under 'choices'",
        "malformed question: no text under 'question'",
        "malformed question: NoneType instead of an object",
        "malformed question: no index under 'answer'",
        "gold answer is an option twice: same",
        "id of another question: 8",
    ]


def test_conversations_that_are_not_evaluated(tmp_path: Path) -> None:
    """Answers that are no letter of an option, and records that are no conversation."""
    records = [
        conversation("1", "Which?\nA. x\nB. y", "FAILED"),
        conversation("2", "Which?\nA. x\nB. y", "C"),
        {"id": "3"},
        "text",
        conversation("5", "Which?\nA. x\nB. y", "A") | {"image": ["a", "b"]},
        conversation("1", "Which?\nA. p\nB. q", "A"),
        conversation("7", "<image>\nWhich?\nA. x\nB. y", "A"),
        conversation("8", "Which?\nA. x\nB. y", "A", image="8/image.png"),
    ]
    assert [
        question.error for question in read(write_llava(tmp_path, records)) if isinstance(question, NotEvaluated)
    ] == [
        "gold answer out of range: FAILED is none of A, B",
        "gold answer out of range: C is none of A, B",
        "no conversation: the key 'conversations' must hold a list of turns",
        "malformed question: str instead of an object",
        "several images: 2 in one conversation",
        "id of another question: 1",
        "malformed question: 1 image tags, no image",
        "malformed question: 0 image tags, one image",
    ]


def test_instructions_are_no_part_of_the_last_option(tmp_path: Path) -> None:
    """Training files have it behind the options; asked twice, and moved with the option, it is another question."""
    text = f"Which?\nA. x\nB. y\n{LETTER.instruction}"
    (question,) = read(write_llava(tmp_path, [conversation("1", text, "B")]))
    assert question == Question("1", (), "", "Which?", ("x", "y"), 1)


def test_missing_files(tmp_path: Path) -> None:
    """The folder that the authors' download makes lacks nothing of these."""
    with pytest.raises(SettingsError, match=r"no problems\.json or llava_test_CQM-A\.json in this folder"):
        read(str(tmp_path))
    write(tmp_path, {"2": problem()}, [])
    with pytest.raises(SettingsError, match="no questions for the benchmark scienceqa"):
        read(str(tmp_path))
    (tmp_path / "pid_splits.json").write_text("[]")
    with pytest.raises(SettingsError, match=r"pid_splits\.json: no list of ids under 'test'"):
        read(str(tmp_path))
    (tmp_path / "pid_splits.json").unlink()
    with pytest.raises(SettingsError, match=r"no pid_splits\.json in this folder"):
        read(str(tmp_path))
    (tmp_path / "problems.json").write_text("1")
    with pytest.raises(SettingsError, match="neither ScienceQA's problems nor LLaVA's conversations"):
        read(str(tmp_path))
