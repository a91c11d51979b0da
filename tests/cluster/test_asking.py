"""Replicas that die while they answer: real processes, with a rule in the place of a model."""

import os
from collections.abc import Callable, Sequence

import pytest
import ray

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

# Questions at a time, of both lanes.
WIDTH = 4
SETTINGS = EngineSettings("hf", ProxySettings(), "generate")


def replica(is_deadly: Callable[[str], bool], loads: bool = True) -> type:
    """A replica that takes the first option, and dies of some prompts or before its model is loaded."""

    # Within a function: so it travels to the process by value.
    class Fragile:
        def __init__(self, settings: EngineSettings, model: str):
            pass

        def load(self) -> tuple[str, int]:
            if not loads:
                os._exit(1)
            return ray.get_runtime_context().get_node_id(), WIDTH

        def reply(self, inquiries: Sequence[Inquiry]) -> list[Reply]:
            if any(is_deadly(inquiry.prompt) for inquiry in inquiries):
                os._exit(1)
            return [Reply(inquiry.symbols[0]) for inquiry in inquiries]

    return Fragile


def examined(count: int) -> tuple[Examination, list[list[tuple[str, str]]]]:
    """Questions of two options, all asked; and for each answer its question and prompt, as they came together."""
    questions = [Question(str(number), (), "", f"Question {number}?", ("x", "y"), 0) for number in range(count)]
    examination = Examination("plain", LETTER, questions, None, Plan(), {})
    kept: list[list[tuple[str, str]]] = []

    def keep(benchmark: str, answered: Sequence[tuple[Request, str]]) -> None:
        kept.append([(request.question.id, request.prompt) for request, _ in answered])

    list(examine([examination], Workers(1, cpus=1, gpus=0), SETTINGS, "", keep))
    return examination, kept


def test_questions_that_kill_their_process_cost_themselves(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that a library stumbles over would end the evaluation, and again whenever it is tried."""
    killers = ("3", "4")
    monkeypatch.setattr(
        asking, "Replica", replica(lambda prompt: any(f"Question {killer}?" in prompt for killer in killers))
    )
    examination, kept = examined(12)
    assert examination.failed() == [NotEvaluated(id, "killed the process that answered it") for id in killers]
    # Each is asked in the given order, where the first is right, and in the other one, where it is wrong.
    others = [str(number) for number in range(12) if str(number) not in killers]
    answers = [answer for together in kept for answer in together]
    assert sorted(id for id, _ in answers) == sorted(4 * others)
    assert len(set(answers)) == len(answers)
    rows = [(row.question, row.attack, row.correct) for row in examination.answers()]
    assert rows == [
        (id, attack, correct)
        for id in others
        for pair in (("clean", "permutation"), ("symbol", "symbol+permutation"))
        for attack, correct in ((pair[0], True), (pair[1], True), (pair[1], False))
    ]
    assert max(len({id for id, _ in together}) for together in kept) == WIDTH // asking.LANES


@pytest.mark.parametrize(("loads", "times"), [(True, 4), (False, 3)])
def test_processes_that_die_of_everything_end_the_job(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, loads: bool, times: int
) -> None:
    """A model that does not fit the memory dies for ever: said once, not of every question."""
    monkeypatch.setattr(asking, "DEATHS_IN_A_ROW", 4)
    monkeypatch.setattr(asking, "Replica", replica(lambda prompt: True, loads))
    with pytest.raises(ArdsError, match=f"died {times} times"):
        examined(20)


def test_nothing_to_ask_starts_nothing(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of a finished evaluation would wait for a model to load."""
    monkeypatch.setattr(asking, "Replica", replica(lambda prompt: True, loads=False))
    examination, kept = examined(0)
    assert (examination.answers(), kept) == ([], [])
