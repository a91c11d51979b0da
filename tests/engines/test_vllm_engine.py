"""vLLM beside the transformers engine, on the same trained model. Run by `make test-vllm`, in its own environment."""

import shutil
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from adapters import write_adapter
from PIL import Image

from ards_ray.cli import main
from ards_ray.config import ProxySettings
from ards_ray.errors import ConversationError, SettingsError
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.benchmarks.registry import read_questions
from ards_ray.evaluation.engine import Ask, Engine, EngineName, EngineSettings, Shown, load_engine
from ards_ray.evaluation.prompts import LETTER
from ards_ray.evaluation.question import Question
from ards_ray.evaluation.respondent import Inquiry, Respondent
from ards_ray.evaluation.waves import Waves

pytest.importorskip("vllm")


def engine_of(name: EngineName, model: Path) -> Engine:
    return load_engine(EngineSettings(name, ProxySettings(dtype="float32", device="cpu"), "generate"), model)


@pytest.fixture(scope="module")
def engines(answering: Any) -> dict[str, Engine]:
    names: tuple[EngineName, ...] = ("hf", "vllm")
    return {name: engine_of(name, answering.model) for name in names}


def asked(engine: Engine, answering: Any) -> tuple[dict[tuple[str, tuple[int, ...]], str], float]:
    """Every answer under permutation, and questions per second."""
    read = read_questions("plain", str(answering.benchmark), Plan())
    questions = [question for question in read if isinstance(question, Question)]
    waves = Waves("plain", LETTER, questions, Plan(attacks=("permutation",)), len(questions))
    respondent = Respondent(engine)
    started = time.monotonic()
    answers = {}
    while wave := waves.next():
        inquiries = [Inquiry(one.prompt, one.question.images, str(answering.images), one.symbols) for one in wave]
        for request, reply in zip(wave, respondent.reply(inquiries), strict=True):
            assert reply.error is None
            answers[request.question.id, request.order] = reply.answer
            waves.record(request, reply.answer)
    return answers, len(questions) / (time.monotonic() - started)


def test_the_engines_agree(engines: dict[str, Engine], answering: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A table would depend on what it was computed with."""
    found = {name: asked(engine, answering) for name, engine in engines.items()}
    assert found["vllm"][0] == found["hf"][0]
    assert len(set(found["hf"][0].values())) == 4
    rates = {name: rate for name, (_, rate) in found.items()}
    with capsys.disabled():
        print(f"\nPA, questions per second: {rates}, ratio {rates['vllm'] / rates['hf']:.2f}")


def test_nothing_outlives_its_process(engines: dict[str, Engine]) -> None:
    """An engine in a process of its own keeps the GPU when its replica is killed, and the next finds no memory."""
    children = [child.name() for child in psutil.Process().children(recursive=True)]
    assert not [name for name in children if name.startswith("VLLM")]


def test_other_requests(engines: dict[str, Engine], answering: Any) -> None:
    """Without a picture, with two, and what cannot be put to the model."""
    names = sorted(answering.images.iterdir())[:2]
    answers = {}
    for name, engine in engines.items():
        images = [Image.open(path).convert("RGB") for path in names]
        shown = tuple(Shown(str(i), engine.inputs.picture(image)) for i, image in enumerate(images))
        asks = [
            Ask("Tell me.", (), ()),
            Ask("<image>\n<image>\nWhich shape is shown?", shown, ()),
            Ask("word " * 5000, (), ()),
            Ask("<image>\nWhich colour does the shape have?", shown[:1], ()),
        ]
        answers[name] = engine.answer(asks)
        assert isinstance(answers[name][2], ConversationError)
    assert list(map(str, answers["vllm"])) == list(map(str, answers["hf"]))


def test_a_model_that_cannot_load(answering: Any, tmp_path: Path) -> None:
    """Broken weights, and a trace of forty lines out of another library's depths."""
    model = Path(shutil.copytree(answering.model, tmp_path / "model"))
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(SettingsError, match="vLLM cannot load the model"):
        engine_of("vllm", model)


def test_the_job(local_ray: None, answering: Any, tmp_path: Path) -> None:
    """The command, with vLLM in a Ray actor, an adapter merged, and symbols ranked by likelihood."""
    write_adapter(answering.model, tmp_path / "adapter", 0.03)
    options = ["--model", str(answering.model), "--benchmark", f"plain={answering.benchmark}"]
    options += ["--images", str(answering.images), "--score", "letters", "--limit", "12"]
    options += ["--adapter", str(tmp_path / "adapter")]
    found = {}
    for name in ("hf", "vllm"):
        assert main(["evaluate", *options, "--engine", name, "--output", str(tmp_path / name)]) == 0
        found[name] = pq.read_table(tmp_path / name / "answers.parquet")
    assert found["vllm"].equals(found["hf"])
    assert len(set(found["hf"]["question"].to_pylist())) == 12
