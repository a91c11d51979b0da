"""Replicas that die while they answer: real processes, with a rule in the place of a model."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from ards_ray.cluster import isolate, replicas
from ards_ray.cluster.replica import Replica
from ards_ray.cluster.resources import Pool
from ards_ray.config import ProxySettings
from ards_ray.errors import ArdsError
from ards_ray.evaluation.answers import Request
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.engine import EngineSettings
from ards_ray.evaluation.prompts import LETTER
from ards_ray.evaluation.question import NotEvaluated, Question
from ards_ray.evaluation.queue import Examination, QuestionQueue
from ards_ray.evaluation.respondent import Inquiry, Reply

# Questions at a time, of both lanes.
WIDTH = 4
SETTINGS = EngineSettings("hf", ProxySettings(), "generate")


def die() -> None:
    os._exit(1)


def lose_device() -> None:
    raise torch.AcceleratorError("CUDA error: device-side assert triggered\nSearch for it in the manual.")


def replica(is_deadly: Callable[[str], bool], loads: bool = True, harm: Callable[[], None] = die) -> type:
    """A replica that takes the first option, and is harmed by some prompts or dies before its model is loaded."""

    # Within a function: so they travel to the process by value.
    class FirstOption:
        width = WIDTH
        harmed = False

        def reply(self, inquiries: Sequence[Inquiry]) -> list[Reply]:
            if self.harmed or any(is_deadly(inquiry.prompt) for inquiry in inquiries):
                # As a device that is lost, whatever it is asked afterwards.
                self.harmed = True
                harm()
            return [Reply(inquiry.symbols[0]) for inquiry in inquiries]

    class Fragile(Replica):
        def __init__(self, settings: EngineSettings, model: str):
            if not loads:
                os._exit(1)
            self.respondent = FirstOption()

        @property
        def _respondent(self) -> FirstOption:
            return self.respondent

    return Fragile


def examined(count: int) -> tuple[Examination, list[list[tuple[str, str]]]]:
    """Questions of two options, all asked; and for each answer its question and prompt, as they came together."""
    questions = [Question(str(number), (), "", f"Question {number}?", ("x", "y"), 0) for number in range(count)]
    examination = Examination("plain", LETTER, questions, None, Plan(), {})
    kept: list[list[tuple[str, str]]] = []

    def keep(benchmark: str, answered: Sequence[tuple[Request, str]]) -> None:
        kept.append([(request.question.id, request.prompt) for request, _ in answered])

    list(replicas.ask(QuestionQueue([examination], keep), Pool(1, cpus=1, gpus=0), SETTINGS, ""))
    return examination, kept


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (die, "killed the process that answered it"),
        (
            lose_device,
            "could not be answered: AcceleratorError: CUDA error: device-side assert triggered Search for it in the "
            "manual.",
        ),
    ],
)
def test_questions_that_harm_their_process_cost_themselves(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, harm: Callable[[], None], reason: str
) -> None:
    """A picture that a library stumbles over would end the evaluation, and again whenever it is tried."""
    monkeypatch.setattr(replicas, "Replica", replica(lambda prompt: "Question 3?" in prompt, harm=harm))
    examination, kept = examined(12)
    assert examination.failed() == [NotEvaluated("3", reason)]
    # Each is asked in the given order, where the first is right, and in the other one, where it is wrong.
    others = [str(number) for number in range(12) if number != 3]
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
    assert max(len({id for id, _ in together}) for together in kept) == WIDTH // replicas.LANES


def test_many_killers_in_a_row_end_nothing(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty questions about one picture that a library stumbles over: the others are answered all the same."""
    monkeypatch.setattr(isolate, "DEATHS_IN_A_ROW", 6)
    killers = ("6", "7")
    monkeypatch.setattr(
        replicas, "Replica", replica(lambda prompt: any(f"Question {killer}?" in prompt for killer in killers))
    )
    examination, _ = examined(8)
    assert [one.id for one in examination.failed()] == list(killers)
    assert len({row.question for row in examination.answers()}) == 6


@pytest.mark.parametrize(("loads", "times"), [(True, 4), (False, 3)])
def test_processes_that_die_of_everything_end_the_job(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, loads: bool, times: int
) -> None:
    """A model that does not fit the memory dies for ever: said once, not of every question."""
    monkeypatch.setattr(isolate, "DEATHS_IN_A_ROW", 4)
    monkeypatch.setattr(replicas, "Replica", replica(lambda prompt: True, loads))
    with pytest.raises(ArdsError, match=f"died {times} times"):
        examined(20)


@pytest.mark.parametrize("times", [2, 100])
def test_processes_that_die_with_their_node(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, times: int
) -> None:
    """Questions would be given up because a node was taken away; or a job would wear out one node after the other."""
    died = [tmp_path / str(number) for number in range(times)]

    def is_deadly(prompt: str) -> bool:
        left = next((mark for mark in died if not mark.exists()), None)
        if "Question 3?" in prompt and left is not None:
            left.touch()
            return True
        return False

    monkeypatch.setattr(isolate, "is_alive", lambda node: False)
    monkeypatch.setattr(replicas, "Replica", replica(is_deadly))
    if times < isolate.NODES_LOST:
        examination, _ = examined(4)
        assert examination.failed() == []
        assert len({row.question for row in examination.answers()}) == 4
    else:
        with pytest.raises(ArdsError, match="was lost with its node 3 times in a row"):
            examined(4)


def test_nothing_to_ask_starts_nothing(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of a finished evaluation would wait for a model to load."""
    monkeypatch.setattr(replicas, "Replica", replica(lambda prompt: True, loads=False))
    examination, kept = examined(0)
    assert (examination.answers(), kept) == ([], [])
