"""The settings of an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ards_ray.config import Count, Device, Dtype, Links, ProxySettings, Seed
from ards_ray.errors import SettingsError
from ards_ray.evaluation.attacks import ATTACKS, Attacks, Matching, Plan, Symbols
from ards_ray.evaluation.benchmarks.registry import benchmark_of
from ards_ray.evaluation.engine import EngineName, EngineSettings, Score
from ards_ray.validation import check_settings

# Stands for the benchmarks whose image folder is not stated.
OTHERS = "all"


@dataclass(frozen=True)
class EvaluationSettings:
    """All settings of an evaluation.

    Args:
        model: Checkpoint folder in the Hugging Face format, or its name on the hub.
        adapter: Folder of a PEFT adapter that is merged into the model.
        dtype: Type of the weights; auto is bfloat16 on a GPU and float32 on a CPU.
        device: Where the model runs; auto takes GPUs if the cluster has any.
        benchmarks: Path or URL of each benchmark, by its name.
        images: Image folder of each benchmark, by its name; the one under `all` is for all others.
        links: Whether symbolic links in those folders that lead out of them are followed.
        engine: What runs the model.
        attacks: The columns.
        symbols: Symbols of the symbol attacks, in order.
        matching: How answers are read.
        score: Generate the answer, or rank the symbols by likelihood.
        answer_tokens: Tokens of the longest answer; what is longer is cut.
        limit: Questions of each benchmark, the first ones; all of them if it is not stated.
        output: Where answers and results go, a folder or a URL.
        seed: Seed of the orders that are drawn.
        workers: Replicas of the model; auto is one for each GPU, or as many as leave a CPU with `threads` each.
        tensor_parallel: GPUs that share one replica; vLLM alone.
        threads: Torch threads of a replica on a CPU.
        batch_positions: Positions that the transformers engine computes together.
    """

    model: str | None = None
    adapter: str | None = None
    dtype: Dtype = "auto"
    device: Device = "auto"
    benchmarks: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    links: Links = "refuse"
    engine: EngineName = "hf"
    attacks: Attacks = ATTACKS
    symbols: Symbols = Plan.symbols
    matching: Matching = "strict"
    score: Score = "generate"
    answer_tokens: Count = 64
    limit: Count | None = None
    output: str | None = None
    seed: Seed = 42
    workers: Count | Literal["auto"] = "auto"
    tensor_parallel: Count = 1
    threads: Count = 1
    batch_positions: Count = 16_384

    @property
    def proxy(self) -> ProxySettings:
        """The model that is evaluated."""
        return ProxySettings(self.model, self.adapter, self.dtype, self.device)

    @property
    def plan(self) -> Plan:
        """What is asked about every question, and when an answer counts."""
        return Plan(self.attacks, self.symbols, self.matching, self.seed)

    @property
    def engine_settings(self) -> EngineSettings:
        """The model and how it answers; nothing in these settings may be `auto`."""
        return EngineSettings(
            self.engine,
            self.proxy,
            self.score,
            self.answer_tokens,
            self.batch_positions,
            self.tensor_parallel,
            self.threads,
        )

    def images_of(self, benchmark: str) -> str | None:
        """The image folder of a benchmark."""
        return self.images.get(benchmark, self.images.get(OTHERS))


def check_evaluation(settings: EvaluationSettings) -> None:
    """Check settings, also those that were made in Python.

    Raises:
        SettingsError: names the setting and what it must be.
    """
    check_settings(settings)
    for name in settings.benchmarks:
        benchmark_of(name)
    unknown = sorted(set(settings.images) - {OTHERS, *settings.benchmarks})
    if unknown:
        raise SettingsError(f"--images {unknown[0]}=…: {unknown[0]} is none of the benchmarks that are evaluated")
    if settings.tensor_parallel > 1 and settings.engine != "vllm":
        raise SettingsError("--tensor-parallel: several GPUs for one replica are a matter of --engine vllm")
