"""The benchmark of colours and shapes, and the training of the model that answers it."""

import json
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

from ards_ray.demo.answering import train_model, write_benchmark
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.benchmarks.registry import read_questions
from ards_ray.evaluation.question import Question


def test_the_benchmark_is_one(tmp_path: Path) -> None:
    """A question that cannot be evaluated, or has a wrong answer, would look like the job's fault."""
    file = write_benchmark(tmp_path / "a")
    records = json.loads(file.read_text())
    questions = list(read_questions("plain", str(file), Plan()))
    assert len(questions) == len(records)
    for question, record in zip(questions, records, strict=True):
        assert isinstance(question, Question)
        assert len(set(question.options)) == len(question.options)
        with Image.open(tmp_path / "a" / "images" / record["image"]) as image:
            # The shape covers the middle of the picture.
            colour = image.getpixel((28, 28))
        if "colour" in question.question and question.options[record["answer"]] == "red":
            assert colour == (205, 40, 40)
    write_benchmark(tmp_path / "b")
    assert (tmp_path / "b" / "benchmark.json").read_text() == file.read_text()


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    """Two first tries would show two tables."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_model(tmp_path / name, seed=seed, steps=2)
    weights = {name: load_file(tmp_path / name / "model.safetensors") for name in "abc"}
    assert all(torch.equal(weights["a"][name], weights["b"][name]) for name in weights["a"])
    assert not all(torch.equal(weights["a"][name], weights["c"][name]) for name in weights["a"])


def test_weights_have_published_names(tmp_path: Path) -> None:
    """vLLM finds the vision tower's weights under these names alone."""
    train_model(tmp_path / "model", steps=1)
    names = [name for name in load_file(tmp_path / "model" / "model.safetensors") if name.startswith("vision_tower.")]
    assert names
    assert all(name.startswith("vision_tower.vision_model.") for name in names)
