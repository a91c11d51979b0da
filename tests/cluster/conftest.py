"""Runs that the tests share: a job is scored once and copied, not scored again."""

import io
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SMALL = ("subgroups.per_format=2", "subgroups.members=3", "runtime.shard_size=40", "runtime.workers=1")


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code and what it printed, spaces and line breaks made one space."""

    code: int
    text: str


def run_select(*arguments: object) -> Outcome:
    """The command `select` in this process, with what is named and nothing else."""
    from ards_ray.cli import main

    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            code = main(["select", *map(str, arguments)])
        except SystemExit as error:
            code = int(error.code or 0)
    return Outcome(code, " ".join(printed.getvalue().split()))


@pytest.fixture(scope="session")
def command() -> Callable[..., Outcome]:
    """The command `select`, its work done by a loop in this process: what it promises is the same as on Ray."""
    from ards_ray.signals.loop import loop_workers

    def run(*arguments: object) -> Outcome:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ards_ray.cluster.workers.ray_workers", loop_workers)
            return run_select(*arguments)

    return run


@pytest.fixture(scope="session")
def ray_command(local_ray: None) -> Callable[..., Outcome]:
    """The command `select` on Ray."""
    return run_select


def on_the_demo(command: Callable[..., Outcome], demo_inputs: Any) -> Callable[..., Outcome]:
    """The command on the demo's inputs, unless others are named, with small subgroups."""

    def run(output: object, *arguments: object, settings: Sequence[str] = ()) -> Outcome:
        named = set(map(str, arguments))
        inputs = {"--corpus": demo_inputs.corpus, "--images": demo_inputs.images, "--model": demo_inputs.model}
        options = [part for name, value in inputs.items() if name not in named for part in (name, value)]
        assigned = [part for setting in (*SMALL, *settings) for part in ("--set", setting)]
        return command("--output", output, *options, *assigned, *arguments)

    return run


@pytest.fixture(scope="session")
def job(command: Callable[..., Outcome], demo_inputs: Any) -> Callable[..., Outcome]:
    """See `on_the_demo`; by a loop."""
    return on_the_demo(command, demo_inputs)


@pytest.fixture(scope="session")
def ray_job(ray_command: Callable[..., Outcome], demo_inputs: Any) -> Callable[..., Outcome]:
    """See `on_the_demo`; on Ray."""
    return on_the_demo(ray_command, demo_inputs)


@pytest.fixture(scope="session")
def finished(job: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the demo's 140 conversations; to be copied, not changed."""
    run = tmp_path_factory.mktemp("finished") / "run"
    outcome = job(run)
    assert outcome.code == 0, outcome.text
    return run


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to do what one likes with."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(scope="session")
def evaluate(local_ray: None) -> Callable[..., tuple[int, str]]:
    """The command `evaluate` in this process; its exit code and what it printed, spaces made one."""
    from ards_ray.cli import main

    def run(*arguments: object) -> tuple[int, str]:
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                code = main(["evaluate", *map(str, arguments)])
            except SystemExit as error:
                code = int(error.code or 0)
        return code, " ".join(printed.getvalue().split())

    return run


@pytest.fixture(scope="session")
def questions(answering: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 24 questions of the trained model's benchmark."""
    file = tmp_path_factory.mktemp("benchmark") / "benchmark.json"
    file.write_text(json.dumps(json.loads(answering.benchmark.read_text())[:24]))
    return file


@pytest.fixture(scope="session")
def arguments(answering: Any, questions: Path) -> list[object]:
    return ["--model", answering.model, "--benchmark", f"plain={questions}", "--images", answering.images]


@pytest.fixture(scope="session")
def evaluated(evaluate, arguments: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation by one replica; to be copied, not changed."""
    output = tmp_path_factory.mktemp("evaluated") / "run"
    code, text = evaluate(*arguments, "--output", output)
    assert code == 0, text
    return output
