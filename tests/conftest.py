"""What the tests share: one Ray for the session, and a small corpus with a tiny checkpoint."""

import os

# Before Ray is imported: no messages home, and no cluster of the user's or of another test.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ADDRESS"] = "local"

import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

import ards_ray

# How long an example takes says more about what else the machine does.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

CONFORMANCE = Path(__file__).parent / "conformance"


@pytest.fixture(scope="session")
def conformance() -> Path:
    """Inputs and outputs of the reference implementation."""
    return CONFORMANCE


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One local Ray with two CPUs for all tests that need one."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    yield
    ray.shutdown()


@dataclass(frozen=True)
class DemoInputs:
    """A generated corpus and checkpoint."""

    corpus: Path
    images: Path
    model: Path


@pytest.fixture(scope="session")
def make_inputs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], DemoInputs]:
    """Makes so many conversations in all formats with pictures, and a tiny random LLaVA."""
    from ards_ray.demo.checkpoint import write_checkpoint
    from ards_ray.demo.corpus import write_corpus

    def make(conversations: int) -> DemoInputs:
        folder = tmp_path_factory.mktemp("demo")
        corpus, images = write_corpus(folder, conversations=conversations)
        write_checkpoint(folder / "checkpoint", corpus)
        return DemoInputs(corpus, images, folder / "checkpoint")

    return make


@pytest.fixture(scope="session")
def demo_inputs(make_inputs: Callable[[int], DemoInputs]) -> DemoInputs:
    """140 conversations in all formats with pictures, and a tiny random LLaVA."""
    return make_inputs(140)


@dataclass(frozen=True)
class Answering:
    """A benchmark of colours and shapes and a tiny LLaVA that was trained to answer it.

    Attributes:
        benchmark: File of the benchmark.
        images: Its image folder.
        model: The checkpoint.
    """

    benchmark: Path
    images: Path
    model: Path


@pytest.fixture(scope="session")
def answering(request: pytest.FixtureRequest) -> Answering:
    """The demo's trained model and its benchmark; kept between sessions as long as what makes them is the same."""
    from ards_ray.demo.answering import train_model, write_benchmark

    package = Path(ards_ray.__file__).parent
    files = sorted(file for room in ("demo", "models", "evaluation") for file in (package / room).glob("*.py"))
    versions = [version(name) for name in ("torch", "transformers", "pillow")]
    made_by = hashlib.sha256(b"".join(file.read_bytes() for file in files) + json.dumps(versions).encode())
    cache = request.config.cache.mkdir("answering")
    folder = cache / made_by.hexdigest()[:16]
    # Several processes may run the tests.
    with FileLock(cache / "lock"):
        if not folder.exists():
            unfinished = cache / uuid.uuid4().hex
            write_benchmark(unfinished)
            train_model(unfinished / "model")
            shutil.move(unfinished, folder)
    return Answering(folder / "benchmark.json", folder / "images", folder / "model")


@pytest.fixture
def select(local_ray: None, demo_inputs: DemoInputs) -> Callable[..., int]:
    """Runs the command `select` in this process, on the demo's inputs unless others are named; gives its exit code."""
    from ards_ray.cli import main

    def run(output: Path, *arguments: str) -> int:
        given = {argument for argument in arguments if argument.startswith("--")}
        defaults = {"--corpus": demo_inputs.corpus, "--images": demo_inputs.images, "--model": demo_inputs.model}
        options = [part for name, value in defaults.items() if name not in given for part in (name, str(value))]
        small = ["--set", "subgroups.per_format=2", "--set", "subgroups.members=3", "--set", "runtime.shard_size=64"]
        return main(["select", "--output", str(output), *small, *options, *arguments])

    return run


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The closing table of the faults. Here, since the process that reports collects no tests itself."""
    # Told by the tests' reports: the tests may run in other processes.
    passed = terminalreporter.getreports("passed")
    lines = [
        value for report in passed if report.when == "call" for name, value in report.user_properties if name == "fault"
    ]
    if lines:
        terminalreporter.section("faults")
        terminalreporter.write_line("| fault | tries | conversations lost | redone |")
        terminalreporter.write_line("|---|---|---|---|")
        for fault, tries, lost, redone in lines:
            terminalreporter.write_line(f"| {fault} | {tries} | {lost} | {redone} |")
