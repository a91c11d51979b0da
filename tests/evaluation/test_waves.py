"""Waves and metrics against brute force: every order of every question asked, nothing stopped, nothing shared."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ards_ray.evaluation.answers import Answer, Request, judge
from ards_ray.evaluation.attacks import ATTACKS, Attack, Plan
from ards_ray.evaluation.metrics import metrics_of
from ards_ray.evaluation.prompts import LETTER, PHRASE
from ards_ray.evaluation.question import Question
from ards_ray.evaluation.waves import Recorded, Waves

INSTRUCTION = "Answer with the option's letter from the given choices directly."
Answerer = Callable[[str], str]


def biased(prompt: str) -> str:
    """A model that mostly knows the answer, has a favourite place, and errs by prompt, always in the same way."""
    options = [line.split(". ", 1) for line in prompt.split("\n")[1:-1]]
    draw = sha256(prompt.encode()).digest()[0]
    if draw < 36:
        return options[0][0]
    if draw < 44:
        return "I do not know."
    return next(symbol for symbol, text in options if text.startswith("right"))


def questions_of(seed: int, count: int = 30, most: int = 5) -> list[Question]:
    source = random.Random(seed)
    questions = []
    for number in range(count):
        options = source.randint(2, most)
        gold = source.choice([0, 0, 0, source.randrange(options)])
        texts = tuple(f"{'right' if place == gold else 'wrong'} {number}.{place}" for place in range(options))
        questions.append(Question(f"q{number}", (), "", f"Question {number}?", texts, gold))
    return questions


def run(waves: Waves, answer: Answerer = biased) -> list[Request]:
    asked = []
    while wave := waves.next():
        asked += wave
        for request in wave:
            waves.record(request, answer(request.prompt))
    return asked


def recorded_of(answers: Iterable[Answer]) -> Recorded:
    """What is known from the answers to a benchmark's questions."""
    return {(answer.question, answer.prompt): answer.answer for answer in answers}


def evaluate(questions: Sequence[Question], plan: Plan = Plan(), width: int = 7) -> tuple[Waves, list[Request]]:  # noqa: B008
    waves = Waves("made", LETTER, questions, plan, width)
    return waves, run(waves)


# Brute force, written from the definitions


def brute_orders(options: int) -> list[tuple[int, ...]]:
    """The given order, its rotations, then every other one."""
    turned = [tuple((place + shift) % options for place in range(options)) for shift in range(options)]
    return turned + [order for order in permutations(range(options)) if order not in turned]


def brute_force(question: Question, symbols: str, answer: Answerer) -> list[bool]:
    """Whether each order is answered right."""
    outcomes = []
    for order in brute_orders(len(question.options)):
        texts = [question.options[place] for place in order]
        lines = [f"{symbol}. {text}" for symbol, text in zip(symbols, texts, strict=False)]
        prompt = "\n".join([question.question, *lines, INSTRUCTION])
        gold = symbols[[text.startswith("right") for text in texts].index(True)]
        outcomes.append(answer(prompt) == gold)
    return outcomes


def percent(values: Sequence[float]) -> float:
    return 100 * sum(values) / len(values)


def test_questions_with_an_option_that_stays() -> None:
    """Each must be asked in all orders that keep sense, and in no other; then it is done."""
    texts = [
        ("right", "wrong", "None of the above"),
        ("wrong", "right", "poor", "All of the above", "None of the above"),
    ]
    questions = [
        Question(f"q{number}", (), "", "Which?", some, some.index("right")) for number, some in enumerate(texts)
    ]
    waves = Waves("made", LETTER, questions, Plan(attacks=("permutation",)), 7)
    asked = run(waves, lambda prompt: next(line[0] for line in prompt.split("\n") if line[1:] == ". right"))
    for question, count in zip(questions, (2, 3), strict=True):
        orders = [request.order for request in asked if request.question == question]
        rest = tuple(range(count, len(question.options)))
        assert sorted(orders) == [(*order, *rest) for order in permutations(range(count))]
    metrics = metrics_of(waves.answers())
    assert metrics.accuracy == {"permutation": 100}
    assert (metrics.order_counts, metrics.fixed_options) == ({2: 1, 6: 1}, 2)
    assert metrics.exhaustive_requests == metrics.requests == 8


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_brute_force(seed: int) -> None:
    """The table is what users compare models by; a question that is stopped too early or late is a wrong number."""
    questions = questions_of(seed, count=100)
    letters = [brute_force(question, "ABCDE", biased) for question in questions]
    others = [brute_force(question, "QWERT", biased) for question in questions]
    waves, _ = evaluate(questions)
    metrics = metrics_of(waves.answers())
    assert metrics.accuracy == {
        "clean": percent([outcomes[0] for outcomes in letters]),
        "permutation": percent([all(outcomes) for outcomes in letters]),
        "symbol": percent([outcomes[0] for outcomes in others]),
        "symbol+permutation": percent([all(outcomes) for outcomes in others]),
    }
    assert metrics.average == sum(metrics.accuracy[attack] for attack in ATTACKS) / 4
    assert metrics.questions == len(questions)
    assert metrics.exhaustive
    # The answerer errs so that all columns differ from one another, and from 0 and 100.
    assert 0 < metrics.accuracy["permutation"] < metrics.accuracy["clean"] < 100
    by_gold = defaultdict(list)
    for question, outcomes in zip(questions, letters, strict=True):
        by_gold["ABCDE"[question.gold or 0]].append(outcomes[0])
    assert metrics.gold_position == {letter: percent(by_gold[letter]) for letter in sorted(by_gold)}
    for attack, all_outcomes in (("permutation", letters), ("symbol+permutation", others)):
        found = metrics.orders[attack]  # type: ignore[index]
        rotations = [
            all(outcomes[: len(question.options)]) for question, outcomes in zip(questions, all_outcomes, strict=True)
        ]
        given = [outcomes for outcomes in all_outcomes if outcomes[0]]
        assert found.rotation == percent(rotations)
        assert found.consistency == percent([all(outcomes) for outcomes in given])
        mean = percent([sum(outcomes) / len(outcomes) for outcomes in all_outcomes])
        assert found.mean_at_least <= mean <= found.mean_at_most


@pytest.mark.parametrize("seed", range(5))
def test_requests_are_those_up_to_the_first_wrong_order(seed: int) -> None:
    """Each request more is time on a GPU; each one less is an order that nobody tried."""
    questions = questions_of(seed)
    needed = every = 0
    for question in questions:
        for symbols in ("ABCDE", "QWERT"):
            outcomes = brute_force(question, symbols, biased)
            needed += len(outcomes) if all(outcomes) else outcomes.index(False) + 1
            every += len(outcomes)
    waves, asked = evaluate(questions)
    metrics = metrics_of(waves.answers())
    assert len(asked) == metrics.requests == needed
    assert metrics.exhaustive_requests == every
    assert needed < every


def test_nothing_is_asked_twice() -> None:
    """The given order stands under two columns and is asked once for both."""
    waves, asked = evaluate(questions_of(0))
    assert len({(request.question.id, request.symbols, request.order) for request in asked}) == len(asked)
    rows = [(row.question, row.attack, row.order) for row in waves.answers()]
    assert len(set(rows)) == len(rows) == len(asked) + 2 * 30


@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([ATTACKS, *((attack,) for attack in ATTACKS)]))
def test_width_and_order_of_questions_change_nothing(seed: int, width: int, attacks: tuple[Attack, ...]) -> None:
    """Number and size of replicas must not show in the result."""
    questions = questions_of(1, count=8, most=4)
    plan = Plan(attacks=attacks)
    expected = evaluate(questions, plan, width=len(questions))[0].answers()
    shuffled = random.Random(seed).sample(questions, len(questions))
    waves = Waves("made", LETTER, shuffled, plan, width)
    while wave := waves.next():
        for request in random.Random(seed).sample(wave, len(wave)):
            waves.record(request, biased(request.prompt))
    order = {question.id: place for place, question in enumerate(questions)}
    assert sorted(waves.answers(), key=lambda row: order[row.question]) == expected


def test_orders_of_a_question_follow_one_another() -> None:
    """A prefix cache holds some questions, not all: with every other question in between it serves nothing."""
    questions = questions_of(2)
    waves = Waves("made", LETTER, questions, Plan(), width=4)
    seen: dict[str, list[int]] = defaultdict(list)
    number = 0
    while wave := waves.next():
        under_way = {request.question.id for request in wave}
        assert len(under_way) <= 4
        for id in under_way:
            seen[id].append(number)
        for request in wave:
            waves.record(request, biased(request.prompt))
        number += 1
    assert len(seen) == len(questions)
    assert all(waves == list(range(waves[0], waves[-1] + 1)) for waves in seen.values())


def test_first_wave_is_the_given_order_of_all_questions() -> None:
    """With room for all of them, clean accuracy is known after one wave."""
    questions = questions_of(3)
    waves = Waves("made", LETTER, questions, Plan(), width=len(questions))
    wave = waves.next()
    assert {(request.question.id, request.symbols[0]) for request in wave} == {
        (question.id, symbol) for question in questions for symbol in "AQ"
    }
    assert all(request.order == tuple(range(len(request.order))) for request in wave)
    assert waves.next() == wave


@pytest.mark.parametrize("kept", [0, 1, 17, 60, None])
def test_answered_requests_are_not_asked_again(kept: int | None) -> None:
    """A job that stopped after hours must go on where it was, and end with the same answers."""
    questions = questions_of(4)
    first, asked = evaluate(questions)
    known = first.answers() if kept is None else answers_to(asked[:kept])
    second = Waves("made", LETTER, questions, Plan(), 7, recorded_of(known))
    again = run(second)
    done = {(row.question, row.prompt) for row in known}
    assert done.isdisjoint((request.question.id, request.prompt) for request in again)
    assert len(again) == len(asked) - len(done)
    assert second.answers() == first.answers()


def answers_to(requests: Sequence[Request]) -> list[Answer]:
    return [row for request in requests for row in judge("made", request, biased(request.prompt), "strict")]


def test_recorded_answers_to_another_prompt_do_not_count() -> None:
    """The benchmark's file was mended in between: the old answer is to another question."""
    questions = questions_of(5, count=3)
    first, _ = evaluate(questions)
    changed = [replace(question, question="What else?") for question in questions]
    assert len(run(Waves("made", LETTER, changed, Plan(), 3, recorded_of(first.answers())))) > 0
    waves = Waves("made", LETTER, changed, Plan(), 3, recorded_of(first.answers()))
    assert len(waves.next()) == 6


def test_further_columns_use_what_is_known() -> None:
    """Who has Clean and now wants permutation too does not ask the given order again."""
    questions = questions_of(6)
    clean, _ = evaluate(questions, Plan(attacks=("clean",)))
    full, asked = evaluate(questions, Plan(attacks=("clean", "permutation")))
    more = Waves("made", LETTER, questions, Plan(attacks=("clean", "permutation")), 7, recorded_of(clean.answers()))
    assert len(run(more)) == len(asked) - len(questions)
    assert more.answers() == full.answers()


def test_a_failed_question_counts_nowhere() -> None:
    """A missing image must not count as a wrong answer, under any column."""
    questions = questions_of(7, count=5)
    waves = Waves("made", LETTER, questions, Plan(), 5)
    for request in waves.next():
        if request.question.id == "q2":
            waves.fail(request.question, "image not found: a.png")
        else:
            waves.record(request, biased(request.prompt))
    run(waves)
    assert waves.failed == {"q2": "image not found: a.png"}
    assert {row.question for row in waves.answers()} == {"q0", "q1", "q3", "q4"}
    metrics_of(waves.answers())


def test_an_answer_that_comes_behind_a_failure() -> None:
    """The other request of a failed question may be answered all the same."""
    questions = questions_of(7, count=1)
    waves = Waves("made", LETTER, questions, Plan(), 1)
    letters, others = waves.next()
    waves.fail(letters.question, "image not found: a.png")
    assert waves.record(others, "Q") == []
    assert waves.next() == []
    assert waves.answers() == []


def test_an_answer_that_nobody_waits_for() -> None:
    """An answer that is taken twice, or for another order, would shift all that follow."""
    waves = Waves("made", LETTER, questions_of(8, count=2), Plan(), 2)
    request = waves.next()[0]
    waves.record(request, request.gold)
    with pytest.raises(ValueError, match="is waited for"):
        waves.record(request, request.gold)


def test_free_answers_are_asked_once() -> None:
    """GQA-OOD has one column."""
    questions = [Question(f"g{number}", (), "", f"Colour {number}?", (), None, "red") for number in range(3)]
    waves = Waves("gqa", PHRASE, questions, Plan(), 2)
    asked = run(waves, lambda prompt: "Red." if "Colour 1" in prompt else "blue")
    assert len(asked) == 3
    metrics = metrics_of(waves.answers())
    assert metrics.accuracy == {"clean": pytest.approx(100 / 3)}
    assert (metrics.average, metrics.requests, metrics.exhaustive_requests) == (None, 3, 3)
    assert metrics.gold_position == {}


def test_more_than_five_options_are_a_sample() -> None:
    """The result must say that not every order was tried."""
    texts = tuple(f"{'right' if place == 2 else 'wrong'} {place}" for place in range(7))
    question = Question("q", (), "", "Which?", texts, 2)

    def perfect(prompt: str) -> str:
        return next(line[0] for line in prompt.split("\n") if ". right" in line)

    waves = Waves("made", LETTER, [question], Plan(), 1)
    asked = run(waves, perfect)
    metrics = metrics_of(waves.answers())
    assert not metrics.exhaustive
    assert len(asked) == metrics.requests == metrics.exhaustive_requests == 2 * 121
    assert set(metrics.accuracy.values()) == {100.0}
    assert (metrics.orders["permutation"].mean_at_least, metrics.orders["permutation"].mean_at_most) == (100, 100)


def test_favourite_place() -> None:
    """The attack's point: a model that always takes A is as good as the gold answers lie, and never robust."""
    questions = questions_of(9)
    waves = Waves("made", LETTER, questions, Plan(), 7)
    run(waves, lambda prompt: prompt.split("\n")[1][0])
    metrics = metrics_of(waves.answers())
    share = percent([question.gold == 0 for question in questions])
    assert metrics.accuracy == {"clean": share, "permutation": 0, "symbol": share, "symbol+permutation": 0}
    assert metrics.gold_position["A"] == 100
    assert {value for letter, value in metrics.gold_position.items() if letter != "A"} == {0}
    assert metrics.orders["permutation"].consistency == 0
