"""The settings of an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ards_ray.config import Links, ProxySettings
from ards_ray.errors import SettingsError
from ards_ray.evaluation.attacks import Plan, check_plan
from ards_ray.evaluation.benchmarks.registry import benchmark_of
from ards_ray.evaluation.engine import EngineName, Score


@dataclass(frozen=True)
class EvaluationSettings:
    """All settings of an evaluation.

    Args:
        model: The model that is evaluated.
        benchmarks: Path or URL of each benchmark, by its name.
        images: Image folder of each benchmark, by its name; the one under an empty name is for all others.
        links: Whether symbolic links in those folders that lead out of them are followed.
        engine: What runs the model.
        plan: What is asked about every question, and when an answer counts.
        score: Generate the answer, or rank the symbols by likelihood.
        answer_tokens: Tokens of the longest answer; what is longer is cut.
        limit: Questions of each benchmark, the first ones; None for all.
        output: Where answers and results go, a folder or a URL.
        workers: Replicas of the model; auto is one for each GPU, or as many as leave a CPU with `threads` each.
        tensor_parallel: GPUs that share one replica; vLLM alone.
        threads: Torch threads of a replica on a CPU.
        batch_positions: Positions that the transformers engine computes together.
    """

    model: ProxySettings = field(default_factory=ProxySettings)
    benchmarks: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    links: Links = "refuse"
    engine: EngineName = "hf"
    plan: Plan = field(default_factory=Plan)
    score: Score = "generate"
    answer_tokens: int = 64
    limit: int | None = None
    output: str | None = None
    workers: int | Literal["auto"] = "auto"
    tensor_parallel: int = 1
    threads: int = 1
    batch_positions: int = 16_384

    def images_of(self, benchmark: str) -> str | None:
        """The image folder of a benchmark."""
        return self.images.get(benchmark, self.images.get(""))


def check_evaluation(settings: EvaluationSettings) -> None:
    """Check what types cannot say.

    Raises:
        SettingsError: names the option and what it must be.
    """
    check_plan(settings.plan)
    for name in settings.benchmarks:
        benchmark_of(name)
    unknown = sorted(set(settings.images) - {"", *settings.benchmarks})
    if unknown:
        raise SettingsError(f"--images {unknown[0]}=…: {unknown[0]} is none of the benchmarks that are evaluated")
    for option, value in (
        ("--answer-tokens", settings.answer_tokens),
        ("--limit", settings.limit),
        ("--workers", settings.workers),
        ("--tensor-parallel", settings.tensor_parallel),
        ("--threads", settings.threads),
        ("--batch-positions", settings.batch_positions),
    ):
        if isinstance(value, int) and value < 1:
            raise SettingsError(f"{option}: must be 1 or more, got {value}")
    if settings.tensor_parallel > 1 and settings.engine != "vllm":
        raise SettingsError("--tensor-parallel: several GPUs for one replica are a matter of --engine vllm")
