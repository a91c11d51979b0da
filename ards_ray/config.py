"""All settings, typed. The docstrings are the help texts and the README's table.

The bounds of a setting stand on its field.
"""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Lt, Predicate
from pydantic import Field, Strict

Seed = Annotated[int, Interval(ge=0, le=2**31 - 1)]
Links = Literal["refuse", "follow"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Device = Literal["auto", "cpu", "cuda"]
Count = Annotated[int, Ge(1)]
Symbols = Annotated[
    str,
    Predicate(lambda symbols: len(set(symbols)) == len(symbols) >= 2),
    Field(description="two or more different symbols"),
]
Budget = Annotated[
    Count | Annotated[float, Gt(0), Lt(1)],
    Field(description="a fraction between 0 and 1 or a whole number of conversations from 1"),
]


@dataclass(frozen=True)
class CorpusSettings:
    """The visual-instruction corpus.

    Args:
        files: LLaVA JSON arrays, JSON Lines or Parquet files, local or URLs, read in the order given.
        images: Folder under which the image paths of the corpus lie, local or a URL.
        links: Whether to follow symbolic links that lead out of that folder.
    """

    files: Annotated[tuple[str, ...], Strict(False)] = ()
    images: str | None = None
    links: Links = "refuse"


@dataclass(frozen=True)
class ProxySettings:
    """The proxy: the multimodal model that scores the corpus.

    Args:
        model: Checkpoint folder in the Hugging Face format, or its name on the hub.
        adapter: Folder of a PEFT adapter to merge into the model.
        dtype: Type of the weights; auto is bfloat16 on a GPU and float32 on a CPU.
        device: Where the proxy runs; auto uses GPUs if the cluster has any.
        vector: Conversation vector: the last token and the attention-weighted mean, or the last token alone.
    """

    model: str | None = None
    adapter: str | None = None
    dtype: Dtype = "auto"
    device: Device = "auto"
    vector: Literal["attention", "last-token"] = "attention"


@dataclass(frozen=True)
class AttackSettings:
    """The task-aware corruption of conversations.

    Args:
        symbol: Replace the option symbols in multiple-choice rounds.
        permutation: Change the order of the options in multiple-choice rounds.
        noise: Add diffusion noise to the images of other conversations.
        symbols: The new symbols, in order.
        permutations: Number of orders to try for each conversation; the one with the largest loss gap counts.
        noise_step: Step of the diffusion noise schedule.
    """

    symbol: bool = True
    permutation: bool = True
    noise: bool = True
    symbols: Symbols = "QWERTYU"
    permutations: Count | Literal["all"] = 1
    noise_step: Annotated[int, Interval(ge=0, le=999)] = 300


@dataclass(frozen=True)
class SubgroupSettings:
    """The worst-case evaluation subgroups.

    Args:
        cluster: Cluster the conversation vectors; false takes one subgroup from the whole corpus (ablation).
        perturb: Take the conversations with the largest loss gaps as members; false takes random ones (ablation).
        per_format: Number of clusters in each format (k).
        members: Number of members of a subgroup (B).
        candidates: Size of the seeded sample of a cluster that members are taken from, or all.
        criterion: Choose members by loss gap, or in multiple choice those that are answered wrong under attack.
        versions: Whether the corrupted versions of multiple-choice members become members too.
        run: Finished run whose subgroups are used instead; the scores are those that the corpus would have had there.
    """

    cluster: bool = True
    perturb: bool = True
    per_format: Annotated[int, Interval(ge=1, le=1000)] = 10
    members: Count = 50
    candidates: Count | Literal["all"] = "all"
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
        aggregate: Sum over subgroups, weighted by their difficulty, or the nearest subgroup alone.
        similarity: Similarity to a subgroup: the mean over its members, or its nearest member.
        temperature: Temperature of the softmax over subgroup losses.
    """

    aggregate: Literal["weighted-sum", "subgroup-maximum"] = "weighted-sum"
    similarity: Literal["mean", "max"] = "mean"
    temperature: Annotated[float, Gt(0)] = 1.0


@dataclass(frozen=True)
class MixtureSettings:
    """The training mixture.

    Args:
        budget: Below 1 a fraction of the corpus, from 1 a whole number of conversations.
        exclude_members: Leave the members of subgroups out of the mixture.
        quota: Whether each format gets the share of the budget that it has in the corpus.
    """

    budget: Budget = 0.3
    exclude_members: bool = True
    quota: Literal["none", "format"] = "none"


@dataclass(frozen=True)
class LimitSettings:
    """What the job accepts.

    Args:
        failed_fraction: Largest fraction of failed conversations for which the job writes a mixture.
        positions: Longest sequence, with the image expanded; longer ones are cut at the end.
        pixels: Largest image, in pixels (width times height).
    """

    failed_fraction: Annotated[float, Interval(ge=0, le=1)] = 0.05
    positions: Annotated[int, Ge(2)] = 2048
    pixels: Count = 100_000_000


@dataclass(frozen=True)
class RuntimeSettings:
    """Workers and resources. They change no number, except the two that are fixed when a run starts.

    Args:
        workers: Number of proxy actors; auto is one for each GPU, or one for each CPU but one (at least one).
        threads: Number of torch threads of a proxy actor on a CPU.
        shard_size: Approximate number of conversations in a shard; fixed when the run starts.
        batch_positions: Number of positions computed together; fixed when the run starts.
        reuse: Run with the same proxy and settings, whose signals are reused for equal conversations.
    """

    workers: Count | Literal["auto"] = "auto"
    threads: Count = 1
    shard_size: Count = 256
    batch_positions: Count = 16_384
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
        methods: Names of the methods that select a mixture each, over the same signals.
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
    methods: Annotated[tuple[str, ...], Strict(False)] = ("ards",)
    seed: Seed = 42


def to_dict(settings: Settings) -> dict[str, Any]:
    """The settings as nested plain values, as YAML writes them."""
    values = asdict(settings)
    values["corpus"]["files"] = list(settings.corpus.files)
    values["methods"] = list(settings.methods)
    return values
