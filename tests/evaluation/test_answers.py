"""answers.parquet: a row for each answer and column, from which everything else follows."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ards_ray.evaluation.answers import ANSWERS, Answer, from_table, judge, request_of, to_table
from ards_ray.evaluation.attacks import Plan, series_of
from ards_ray.evaluation.prompts import LETTER, PHRASE
from ards_ray.evaluation.question import Question

CHOICE = Question("q", (), "", "Which?", ("cat", "dog", "cow"), 1)
FREE = Question("f", (), "", "What colour?", (), None, "Red")


def test_gold_follows_its_option() -> None:
    """A gold letter that stays where it was calls right answers wrong."""
    letters, others = series_of(CHOICE, Plan())
    for index, order in enumerate(letters.orders):
        request = request_of(CHOICE, LETTER, letters, index)
        assert request.order == order
        assert f"{request.gold}. dog" in request.prompt.split("\n")
        assert request_of(CHOICE, LETTER, others, index).gold == "QWE"["ABC".index(request.gold)]


def test_the_given_order_stands_under_both_columns() -> None:
    """Each column must follow from its own rows."""
    letters, others = series_of(CHOICE, Plan())
    rows = judge("arc", request_of(CHOICE, LETTER, letters, 0), "B", "strict")
    prompt = "Which?\nA. cat\nB. dog\nC. cow\nAnswer with the option's letter from the given choices directly."
    assert rows == [
        Answer("arc", "q", "clean", (0, 1, 2), prompt, "B", "B", "B", True),
        Answer("arc", "q", "permutation", (0, 1, 2), prompt, "B", "B", "B", True),
    ]
    rows = judge("arc", request_of(CHOICE, LETTER, others, 1), "B", "strict")
    assert [(row.attack, row.order, row.parsed, row.gold, row.correct) for row in rows] == [
        ("symbol+permutation", (1, 2, 0), None, "Q", False)
    ]


def test_matching_is_as_planned() -> None:
    """The same answer is wrong under one rule and right under the other."""
    request = request_of(CHOICE, LETTER, series_of(CHOICE, Plan())[0], 0)
    assert [row.correct for row in judge("arc", request, "B. dog", "strict")] == [False, False]
    assert [row.correct for row in judge("arc", request, "B. dog", "lenient")] == [True, True]


def test_free_answers() -> None:
    """GQA's answers are compared in lower case, whichever side has the capital letter."""
    (series,) = series_of(FREE, Plan())
    request = request_of(FREE, PHRASE, series, 0)
    (row,) = judge("gqa", request, "red.", "strict")
    assert (row.attack, row.order, row.parsed, row.gold, row.correct) == ("clean", (), "red", "red", True)
    assert not judge("gqa", request, "blue", "strict")[0].correct


def test_rows_survive_the_table(tmp_path: Path) -> None:
    """Results are computed again from the recorded table alone: what it loses is lost."""
    letters = series_of(CHOICE, Plan())[0]
    rows = judge("arc", request_of(CHOICE, LETTER, letters, 1), "none\n", "strict")
    rows += judge("gqa", request_of(FREE, PHRASE, series_of(FREE, Plan())[0], 0), "Rot", "strict")
    pq.write_table(to_table(rows), tmp_path / "answers.parquet")
    table = pq.read_table(tmp_path / "answers.parquet")
    assert table.schema.names == ANSWERS.names
    assert list(from_table(table)) == rows
    assert to_table([]).schema == ANSWERS


def test_a_question_without_gold_is_no_request() -> None:
    """It would be wrong under every column."""
    question = Question("q", (), "", "Which?", ("a", "b"), None)
    with pytest.raises(ValueError, match="q has no gold answer"):
        request_of(question, LETTER, series_of(question, Plan())[0], 0)
