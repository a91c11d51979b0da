"""Every setting, typed. The docstrings are the help texts.

Each group says which stage's numbers it changes; `runtime` changes none.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from typing import Any, Literal

from ards_ray.errors import SettingsError

Links = Literal["refuse", "follow"]


@dataclass(frozen=True)
class CorpusSettings:
    """The visual-instruction corpus.

    Args:
        files: LLaVA JSON arrays, JSON Lines or Parquet files, local or URLs, read in the order given.
        images: Folder under which the image paths of the corpus lie, local or a URL.
        links: Whether symbolic links in that folder that lead out of it are followed.
    """

    files: tuple[str, ...] = ()
    images: str | None = None
    links: Links = "refuse"


@dataclass(frozen=True)
class ProxySettings:
    """The proxy: the multimodal model that scores the corpus.

    Args:
        model: Checkpoint folder in the Hugging Face format, or its name on the hub.
        adapter: Folder of a PEFT adapter that is merged into the model.
        dtype: Type of the weights; auto is bfloat16 on a GPU and float32 on a CPU.
        device: Where the proxy runs; auto takes GPUs if the cluster has any.
        vector: Conversation vector: last token beside the attention-weighted mean, or the last token alone.
    """

    model: str | None = None
    adapter: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    vector: Literal["attention", "last-token"] = "attention"


@dataclass(frozen=True)
class AttackSettings:
    """The task-aware corruption of conversations.

    Args:
        symbol: Replace the option symbols of multiple-choice rounds.
        permutation: Put the options of multiple-choice rounds in another order.
        noise: Put diffusion noise on the images of other conversations.
        symbols: The replacing symbols, in order.
        permutations: Orders tried for each conversation; the one with the largest loss gap counts.
        noise_step: Step of the diffusion noise schedule, 0 to 999.
    """

    symbol: bool = True
    permutation: bool = True
    noise: bool = True
    symbols: str = "QWERTYU"
    permutations: int | Literal["all"] = 1
    noise_step: int = 300


@dataclass(frozen=True)
class SubgroupSettings:
    """The worst-case evaluation subgroups.

    Args:
        cluster: Cluster the conversation vectors; without it one subgroup is taken from the whole corpus.
        perturb: Take the largest loss gaps as members; without it members are random.
        per_format: Clusters for each format (k).
        members: Members of a subgroup (B).
        candidates: Conversations of a cluster that may become members, a seeded sample, or all.
        criterion: Members by loss gap, or in multiple choice those answered wrong under attack.
        versions: Whether corrupted versions of multiple-choice members join as further members.
        run: Finished run whose subgroups are taken instead: the corpus is scored as if it had stood in that run.
    """

    cluster: bool = True
    perturb: bool = True
    per_format: int = 10
    members: int = 50
    candidates: int | Literal["all"] = "all"
    criterion: Literal["loss", "answer"] = "loss"
    versions: Literal["clean", "clean+corrupted"] = "clean"
    run: str | None = None


@dataclass(frozen=True)
class VectorSettings:
    """How conversation vectors are compared.

    Args:
        center: Subtract the corpus's mean vector and normalise again, for clusters and scores.
    """

    center: bool = False


@dataclass(frozen=True)
class ScoreSettings:
    """The information score.

    Args:
        aggregate: Sum over subgroups weighted by their difficulty, or the nearest subgroup alone.
        similarity: Similarity to a subgroup: mean over its members, or its nearest member.
        temperature: Temperature of the softmax over subgroup losses.
    """

    aggregate: Literal["weighted-sum", "subgroup-maximum"] = "weighted-sum"
    similarity: Literal["mean", "max"] = "mean"
    temperature: float = 1.0


@dataclass(frozen=True)
class MixtureSettings:
    """The training mixture.

    Args:
        budget: Below 1 a fraction of the corpus, from 1 a whole number of conversations.
        exclude_members: Keep the members of subgroups out of the mixture.
        quota: Whether each format gets its share of the budget as in the corpus.
    """

    budget: int | float = 0.3
    exclude_members: bool = True
    quota: Literal["none", "format"] = "none"


@dataclass(frozen=True)
class LimitSettings:
    """What is still accepted.

    Args:
        failed_fraction: Largest fraction of failed conversations with which a mixture is written.
        positions: Longest sequence, image expanded; what is longer is cut at the end.
        pixels: Largest image, in pixels (width times height).
    """

    failed_fraction: float = 0.05
    positions: int = 2048
    pixels: int = 100_000_000


@dataclass(frozen=True)
class RuntimeSettings:
    """Workers and resources: what changes no number, except the two that are fixed when a run starts.

    Args:
        workers: Proxy actors; auto is one for each GPU, or one for each CPU but one (at least one).
        threads: Torch threads of a proxy actor on a CPU.
        shard_size: Conversations in a shard, about; fixed when the run starts.
        batch_positions: Positions computed together; fixed when the run starts.
        reuse: Run with the same proxy and settings, whose signals are taken over where conversations are the same.
    """

    workers: int | Literal["auto"] = "auto"
    threads: int = 1
    shard_size: int = 256
    batch_positions: int = 16_384
    reuse: str | None = None


@dataclass(frozen=True)
class Settings:
    """All settings of a selection run.

    Args:
        corpus: The corpus.
        proxy: The proxy model.
        attacks: The corruption.
        subgroups: The worst-case subgroups.
        vectors: The comparison of vectors.
        score: The information score.
        mixture: The mixture.
        limits: The limits.
        runtime: The workers.
        output: Run directory, local or a URL.
        seed: Seed of everything that is drawn.
    """

    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    proxy: ProxySettings = field(default_factory=ProxySettings)
    attacks: AttackSettings = field(default_factory=AttackSettings)
    subgroups: SubgroupSettings = field(default_factory=SubgroupSettings)
    vectors: VectorSettings = field(default_factory=VectorSettings)
    score: ScoreSettings = field(default_factory=ScoreSettings)
    mixture: MixtureSettings = field(default_factory=MixtureSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    output: str | None = None
    seed: int = 42


# What a setting must be beyond its type.
_BOUNDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "attacks.symbols": (
        "two or more different symbols",
        lambda value: len(value) >= 2 and len(set(value)) == len(value),
    ),
    "attacks.permutations": ("1 or more, or all", lambda value: value == "all" or value >= 1),
    "attacks.noise_step": ("0 to 999", lambda value: 0 <= value < 1000),
    "subgroups.per_format": ("1 to 1000", lambda value: 1 <= value <= 1000),
    "subgroups.members": ("1 or more", lambda value: value >= 1),
    "subgroups.candidates": ("1 or more, or all", lambda value: value == "all" or value >= 1),
    "score.temperature": ("more than 0", lambda value: value > 0),
    "mixture.budget": (
        "a fraction between 0 and 1 or a whole number of conversations from 1",
        lambda value: 0 < value < 1 or (isinstance(value, int) and value >= 1),
    ),
    "limits.failed_fraction": ("0 to 1", lambda value: 0 <= value <= 1),
    "limits.positions": ("2 or more", lambda value: value >= 2),
    "limits.pixels": ("1 or more", lambda value: value >= 1),
    "runtime.workers": ("1 or more, or auto", lambda value: value == "auto" or value >= 1),
    "runtime.threads": ("1 or more", lambda value: value >= 1),
    "runtime.shard_size": ("1 or more", lambda value: value >= 1),
    "runtime.batch_positions": ("1 or more", lambda value: value >= 1),
    "seed": ("0 to 2147483647", lambda value: 0 <= value < 2**31),
}


def bounds_of(key: str) -> str | None:
    """What a setting must be beyond its type, in words."""
    return _BOUNDS[key][0] if key in _BOUNDS else None


def check_bounds(key: str, value: Any, name: str | None = None) -> None:
    """Check what the type of a setting cannot say.

    Args:
        key: The setting, `section.key`.
        value: Its value, of the right type.
        name: The setting as its user wrote it.

    Raises:
        SettingsError: names the setting, what it must be and its value.
    """
    bounds, holds = _BOUNDS.get(key, ("", lambda _: True))
    if not holds(value):
        raise SettingsError(f"{name or key}: must be {bounds}, got {value}")


def check_settings(settings: Settings) -> None:
    """Check what types cannot say.

    Raises:
        SettingsError: names the key, what it must be and its value.
    """
    for key in _BOUNDS:
        check_bounds(key, attrgetter(key)(settings))


def to_dict(settings: Settings) -> dict[str, Any]:
    """The settings as nested plain values, as YAML writes them."""
    values = asdict(settings)
    values["corpus"]["files"] = list(settings.corpus.files)
    return values
