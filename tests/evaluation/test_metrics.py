"""Metrics from answers alone: small tables worked out by hand, and answers that are not complete."""

import json
from dataclasses import replace
from itertools import permutations

import pytest

from ards_ray.errors import ArdsError
from ards_ray.evaluation.answers import Answer
from ards_ray.evaluation.attacks import ATTACKS, Attack
from ards_ray.evaluation.metrics import metrics_by_benchmark, metrics_of


def answer(
    question: str, attack: Attack, order: tuple[int, ...], correct: bool, gold: str = "A", benchmark: str = "arc"
) -> Answer:
    return Answer(benchmark, question, attack, order, "Which?", "A", "A", gold, correct)


def answers(question: str, attack: Attack, *outcomes: bool, gold: str = "A") -> list[Answer]:
    """Answers to two options' orders, as far as given."""
    orders = [(0, 1), (1, 0)]
    return [answer(question, attack, order, right, gold) for order, right in zip(orders, outcomes, strict=False)]


TABLE = [
    # Right in both orders; right in the given one alone; wrong at once.
    *answers("q1", "clean", True),
    *answers("q1", "permutation", True, True),
    *answers("q2", "clean", True, gold="B"),
    *answers("q2", "permutation", True, False, gold="B"),
    *answers("q3", "clean", False),
    *answers("q3", "permutation", False),
]


def test_a_table_by_hand() -> None:
    """The definitions of the columns, in numbers that anyone can check."""
    metrics = metrics_of(TABLE)
    assert metrics.accuracy == {"clean": pytest.approx(200 / 3), "permutation": pytest.approx(100 / 3)}
    assert metrics.average is None
    assert metrics.gold_position == {"A": 50, "B": 100}
    assert (metrics.questions, metrics.requests, metrics.exhaustive_requests) == (3, 5, 6)
    orders = metrics.orders["permutation"]
    assert orders.rotation == pytest.approx(100 / 3)
    assert orders.consistency == 50
    # q1 2 of 2, q2 1 of 2, q3 0 of 2 if the order that was not asked is wrong, 1 of 2 if it is right.
    assert orders.mean_at_least == pytest.approx(100 * 1.5 / 3)
    assert orders.mean_at_most == pytest.approx(100 * 2 / 3)


def test_average_needs_all_four_columns() -> None:
    """An average over fewer columns beside one over four would rank models by what was asked."""
    table = [
        *TABLE[:2],
        TABLE[2],
        *answers("q1", "symbol", True, gold="Q"),
        *answers("q1", "symbol+permutation", True, False, gold="Q"),
    ]
    metrics = metrics_of(table)
    assert metrics.accuracy == {"clean": 100, "permutation": 100, "symbol": 100, "symbol+permutation": 0}
    assert metrics.average == 75
    assert (metrics.requests, metrics.exhaustive_requests) == (4, 4)


def test_answers_that_were_cut_are_counted() -> None:
    """Once for both columns: whoever sees them knows why the accuracy is low, and what to do."""
    table = [replace(row, answer="I think that…") for row in TABLE[:2]] + TABLE[2:]
    assert metrics_of(table).cut == 1
    assert metrics_of(TABLE).cut == 0


def test_results_as_written() -> None:
    """results.json has every column by name, those not asked as null."""
    result = json.loads(json.dumps(metrics_of(TABLE).to_dict()))
    assert list(result)[:5] == [*ATTACKS, "average"]
    assert (result["symbol"], result["average"], result["exhaustive"]) == (None, None, True)
    assert result["orders"]["permutation"]["consistency"] == 50


def test_rotation_accuracy_where_another_order_is_wrong() -> None:
    """CircularEval asks rotations alone: a wrong order that is no rotation does not count there."""
    orders = [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1)]
    metrics = metrics_of([answer("q", "permutation", order, order != (0, 2, 1)) for order in orders])
    assert metrics.accuracy == {"permutation": 0}
    assert metrics.orders["permutation"].rotation == 100
    assert metrics.gold_position == {"A": 100}


def test_no_question_right_in_the_given_order() -> None:
    """There is no share of nothing."""
    assert metrics_of(answers("q", "permutation", False)).orders["permutation"].consistency is None


def test_benchmarks_are_apart() -> None:
    """Two benchmarks may have questions of the same id."""
    table = [answer("1", "clean", (0, 1), True), answer("1", "clean", (0, 1), False, benchmark="boolq")]
    metrics = metrics_by_benchmark(table)
    assert {name: value.accuracy["clean"] for name, value in metrics.items()} == {"arc": 100, "boolq": 0}
    assert metrics["arc"].exhaustive_requests == 1


@pytest.mark.parametrize("dropped", [2, 0, 1])
def test_unfinished_answers_are_refused(dropped: int) -> None:
    """Orders that were not asked yet would count as right: the worst case of half a job would look robust."""
    table = [row for number, row in enumerate(TABLE) if number != dropped]
    with pytest.raises(ArdsError, match=r"arc: question q1 has [01] of [12] answers under"):
        metrics_of(table)


def test_options_that_stay() -> None:
    """With four options of which the last stays there are six orders, and three rotations: more are never asked."""
    orders = [(*order, 3) for order in permutations(range(3))]
    rows = [replace(answer("q", "permutation", order, order != (2, 1, 0, 3)), fixed=(3,)) for order in orders]
    metrics = metrics_of(rows)
    assert (metrics.exhaustive_requests, metrics.order_counts, metrics.fixed_options) == (6, {6: 1}, 1)
    assert metrics.orders["permutation"].rotation == 100
    rotated = [replace(row, correct=row.order != (1, 2, 0, 3)) for row in rows]
    assert metrics_of(rotated).orders["permutation"].rotation == 0
    assert metrics.orders["permutation"].mean_at_least == pytest.approx(100 * 5 / 6)
    assert metrics.exhaustive
    with pytest.raises(ArdsError, match="5 of 6"):
        metrics_of(rows[:5])
    # Six options of which one stays have no more orders than five.
    assert metrics_of([replace(answer("q", "permutation", tuple(range(6)), False), fixed=(5,))]).exhaustive


def test_order_counts() -> None:
    """The result says how many orders there were, of questions with other numbers of options too."""
    table = [*TABLE, answer("q4", "permutation", (0, 1, 2), False), answer("q4", "clean", (0, 1, 2), False)]
    result = json.loads(json.dumps(metrics_of(table).to_dict()))
    assert (result["order_counts"], result["fixed_options"]) == ({"2": 3, "6": 1}, 0)


def test_a_sample_is_complete_at_its_size() -> None:
    """Six options have 720 orders, of which 121 are asked."""
    orders = [tuple(range(6)), *list(permutations(range(6)))[1:121]]
    rows = [answer("q", "permutation", order, True) for order in orders]
    assert not metrics_of(rows).exhaustive
    with pytest.raises(ArdsError, match="120 of 121"):
        metrics_of(rows[:-1])
