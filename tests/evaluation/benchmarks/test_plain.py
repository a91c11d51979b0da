"""Questions of one's own."""

import json
from pathlib import Path

import pytest

from ards_ray.errors import CorpusError
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.benchmarks.registry import read_questions
from ards_ray.evaluation.images import FileImage
from ards_ray.evaluation.question import NotEvaluated, Question


def test_plain_questions(tmp_path: Path) -> None:
    """Whoever has questions of their own needs no loader; what is wrong with one is said of that one."""
    whole = {"id": 7, "image": "a/b.png", "context": "C.", "question": "Q?", "options": ["x", "y"], "answer": 1}
    records = [whole, {"question": "Q?", "options": ["x", "y", "z"], "answer": 0}, {**whole, "id": 8, "options": "xy"}]
    (tmp_path / "benchmark.json").write_text(json.dumps(records))
    found = list(read_questions("plain", str(tmp_path), Plan()))
    assert found == [
        Question("7", (FileImage("a/b.png"),), "C.", "Q?", ("x", "y"), 1),
        Question("1", (), "", "Q?", ("x", "y", "z"), 0),
        NotEvaluated("8", "malformed question: no list of texts under 'options'"),
    ]
    others = [{**whole, "images": ["a.png"]}, {**whole, "id": 8, "image": "none", "options": ["a.png", "b.png"]}]
    (tmp_path / "benchmark.json").write_text(json.dumps(others))
    assert list(read_questions("plain", str(tmp_path), Plan())) == [
        NotEvaluated("7", "pictures under a key that is not read: images"),
        Question("8", (), "C.", "Q?", ("a.png", "b.png"), 1),
    ]
    (tmp_path / "benchmark.json").write_text("{}")
    with pytest.raises(CorpusError, match="not a list"):
        list(read_questions("plain", str(tmp_path), Plan()))
