"""The answers as they are kept."""

from pathlib import Path

import pytest

from ards_ray.evaluation import log
from ards_ray.evaluation.answers import Request, request_of
from ards_ray.evaluation.attacks import Plan, series_of
from ards_ray.evaluation.log import AnswerLog
from ards_ray.evaluation.prompts import LETTER
from ards_ray.evaluation.question import Question
from ards_ray.run.directory import RunDirectory

STAMPS = {"made": {str(number): "as it was" for number in range(4)}}


def request(number: int) -> Request:
    question = Question(str(number), (), "", "Which?", ("x", "y"), 0)
    return request_of(question, LETTER, series_of(question, Plan())[0], 0)


def test_what_was_kept_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whoever goes on; but not where another model answered, or the picture is another one now."""
    monkeypatch.setattr(log, "_ROWS", 2)
    run = RunDirectory(str(tmp_path))
    with AnswerLog(run, "one", STAMPS) as kept:
        kept.add("made", [(request(0), "A"), (request(1), "B")])
        assert len(run.parts("answers")) == 1
        kept.add("made", [(request(2), "A")])
    known = AnswerLog(run, "one", STAMPS).known()
    assert known == {"made": {(str(number), request(number).prompt): answer for number, answer in enumerate("ABA")}}
    assert AnswerLog(run, "another", STAMPS).known() == {"made": {}}
    changed = AnswerLog(run, "one", {"made": STAMPS["made"] | {"1": "mended"}, "other": {}}).known()
    assert {id for id, _ in changed["made"]} == {"0", "2"}


def test_nothing_is_written_after_an_interruption(tmp_path: Path) -> None:
    """A driver whose lease was taken is interrupted: what it writes then would stand in the place of another's."""
    run = RunDirectory(str(tmp_path))

    def broken_off(error: BaseException) -> None:
        with AnswerLog(run, "one", STAMPS) as kept:
            kept.add("made", [(request(0), "A")])
            raise error

    with pytest.raises(KeyboardInterrupt):
        broken_off(KeyboardInterrupt())
    assert run.parts("answers") == []
    with pytest.raises(ValueError, match="broken"):
        broken_off(ValueError("broken"))
    assert len(run.parts("answers")) == 1
