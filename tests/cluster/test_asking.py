"""Replicas that die while they answer: real processes, with a rule in the place of a model."""

import os
from collections.abc import Callable, Sequence

import pytest

from ards_ray.cluster import asking
from ards_ray.cluster.asking import Examination, examine
from ards_ray.cluster.resources import Workers
from ards_ray.config import ProxySettings
from ards_ray.errors import ArdsError
from ards_ray.evaluation.answers import Request
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.engine import EngineSettings
from ards_ray.evaluation.prompts import LETTER
from ards_ray.evaluation.question import NotEvaluated, Question
from ards_ray.evaluation.respondent import Inquiry, Reply

SETTINGS = EngineSettings("hf", ProxySettings(), "generate")


def replica(is_deadly: Callable[[str], bool], loads: bool = True) -> type:
    """A replica that says A, and dies of some prompts or before its model is loaded."""

    # Within a function: so it travels to the process by value.
    class Fragile:
        def __init__(self, settings: EngineSettings, model: str):
            pass

        def width(self) -> int:
            if not loads:
                os._exit(1)
            return 8

        def reply(self, inquiries: Sequence[Inquiry]) -> list[Reply]:
            if any(is_deadly(inquiry.prompt) for inquiry in inquiries):
                os._exit(1)
            return [Reply("A") for _ in inquiries]

    return Fragile


def examined(count: int) -> tuple[Examination, list[tuple[str, str]]]:
    """Questions of two options, all asked; and for each answer kept its question and prompt."""
    questions = [Question(str(number), (), "", f"Question {number}?", ("x", "y"), 0) for number in range(count)]
    examination = Examination("plain", LETTER, questions, None, Plan(attacks=("clean", "permutation")), {})
    kept: list[tuple[str, str]] = []

    def keep(benchmark: str, answered: Sequence[tuple[Request, str]]) -> None:
        kept.extend((request.question.id, request.prompt) for request, _ in answered)

    list(examine([examination], Workers(1, cpus=1, gpus=0), SETTINGS, "", keep))
    return examination, kept


def test_a_question_that_kills_its_process_costs_itself(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that a library stumbles over would end the evaluation, and again whenever it is tried."""
    monkeypatch.setattr(asking, "Replica", replica(lambda prompt: "Question 7?" in prompt))
    examination, kept = examined(20)
    assert examination.failed() == [NotEvaluated("7", "killed the process that answered it")]
    # Each is asked in the given order, where A is right, and in the other one, where it is wrong.
    others = [str(number) for number in range(20) if number != 7]
    assert sorted(question for question, _ in kept) == sorted(2 * others)
    assert len(set(kept)) == len(kept)
    rows = [(row.question, row.attack, row.correct) for row in examination.answers()]
    assert rows == [
        (id, attack, correct)
        for id in others
        for attack, correct in (("clean", True), ("permutation", True), ("permutation", False))
    ]


@pytest.mark.parametrize(("loads", "times"), [(True, 4), (False, 3)])
def test_processes_that_die_of_everything_end_the_job(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, loads: bool, times: int
) -> None:
    """A model that does not fit the memory dies for ever: said once, not of every question."""
    monkeypatch.setattr(asking, "DEATHS_IN_A_ROW", 4)
    monkeypatch.setattr(asking, "Replica", replica(lambda prompt: True, loads))
    with pytest.raises(ArdsError, match=f"died {times} times in a row"):
        examined(20)


def test_nothing_to_ask_starts_nothing(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of a finished evaluation would wait for a model to load."""
    monkeypatch.setattr(asking, "Replica", replica(lambda prompt: True, loads=False))
    examination, kept = examined(0)
    assert (examination.answers(), kept) == ([], [])
