"""How fast the proxy scores, beside the published procedure and beside the library's passes without sharing."""

import gc
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from ards_ray.benchmark.conversations import (
    CORPUS_CONVERSATIONS,
    SyntheticConversation,
    synthetic_conversations,
    synthetic_pictures,
)
from ards_ray.benchmark.passes import Library
from ards_ray.config import ProxySettings, RuntimeSettings
from ards_ray.console import say, table_of
from ards_ray.errors import SettingsError
from ards_ray.models.clip import tile_positions
from ards_ray.models.llava import LlavaModel, load_llava_config
from ards_ray.models.loading import load_weights
from ards_ray.models.scoring import Scored, score_sequences
from ards_ray.models.sequence import Picture, SequenceScore

GIB = 1 << 30
RUNTIME = RuntimeSettings()
MATRIX_SECONDS = 2.0


@dataclass(frozen=True)
class Size:
    """A random LLaVA's shape, and what is measured on it by default."""

    width: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    conversations: int
    matrix: int


# On a CPU what takes three minutes, with LLaVA's vocabulary; LLaVA-1.5-7B's own shape on a GPU.
SIZES = {
    "cpu": Size(384, 8, 12, 1024, 32064, 256, 6, 4, conversations=40, matrix=2048),
    "cuda": Size(4096, 32, 32, 11008, 32064, 1024, 24, 16, conversations=512, matrix=8192),
}


def measure_scoring(
    device: Literal["cpu", "cuda"],
    model: Path | None,
    conversations: int | None,
    budget: int | None,
    report: str | None,
    console: Console,
) -> None:
    """Measure reference, plain and engine on the same conversations, one after the other, and print what was found.

    Args:
        device: `cpu` or `cuda`.
        model: A LLaVA-1.5 checkpoint; a random one of the device's default size if not given.
        conversations: How many; the device's default if not given.
        budget: Positions computed together.
        report: File to which the figures are written as JSON.
        console: Where progress and figures go.

    Raises:
        SettingsError: there is no GPU, or the checkpoint cannot be loaded.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("--device cuda: PyTorch sees no GPU here")
    size = SIZES[device]
    settings = ProxySettings(device=device, dtype="float32" if device == "cpu" else "bfloat16")
    with tempfile.TemporaryDirectory(prefix="ards-ray-") as scratch, torch.inference_mode():
        folder = model or _write_random(Path(scratch) / "model", size, settings)
        count, positions = conversations or size.conversations, budget or RUNTIME.batch_positions
        figures = _measure(folder, settings, count, positions, size, console)
    _print(figures, console)
    if report is not None:
        Path(report).write_text(json.dumps(figures, indent=2) + "\n")


def _write_random(folder: Path, size: Size, settings: ProxySettings) -> Path:
    text = LlamaConfig(
        hidden_size=size.width,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        vocab_size=size.vocabulary,
        max_position_embeddings=4096,
    )
    vision = CLIPVisionConfig(
        hidden_size=size.vision_width,
        intermediate_size=4 * size.vision_width,
        num_hidden_layers=size.vision_layers,
        num_attention_heads=size.vision_heads,
        image_size=336,
        patch_size=14,
    )
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=size.vocabulary - 64, dtype=settings.dtype
    )
    with torch.random.fork_rng(), torch.device(settings.device):
        torch.manual_seed(42)
        LlavaForConditionalGeneration(config).to(getattr(torch, settings.dtype)).save_pretrained(folder)
    _free()
    return folder


def _measure(
    folder: Path, settings: ProxySettings, count: int, budget: int, size: Size, console: Console
) -> dict[str, Any]:
    config = load_llava_config(LlavaConfig, folder)
    token = config.image_token_index
    conversations = list(synthetic_conversations(count, token, token, tile_positions(config)))
    pictures = synthetic_pictures(conversations, config.vision_config.image_size)
    peak = _matrix_rate(size.matrix, settings)
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name()
        if settings.device == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
        "dtype": settings.dtype,
        "conversations": count,
        "pictures": len({item.clean.image for item in conversations if item.clean.image >= 0}),
        "budget": budget,
        "matrix_flops_per_second": peak,
    }
    results = {}
    for name in ("reference", "plain"):
        library = Library(load_weights(LlavaForConditionalGeneration, folder, settings), pictures, budget)
        method = getattr(library, name)
        method(conversations[:2])
        library.positions = 0
        results[name], figures[name] = _timed(name, partial(method, conversations), count, settings.device, console)
        figures[name]["positions"] = library.positions
        del library, method
        _free()
    engine = LlavaModel(folder, settings)
    figures["attention"] = "variable-length kernel" if engine.varlen else "scaled_dot_product_attention"
    _engine(engine, conversations[:2], pictures, budget)
    (results["engine"], positions), figures["engine"] = _timed(
        "engine", partial(_engine, engine, conversations, pictures, budget), count, settings.device, console
    )
    with FlopCounterMode(display=False) as counter:
        _engine(engine, conversations, pictures, budget)
    rate = counter.get_total_flops() / figures["engine"]["seconds"]
    figures["engine"] |= {"positions": positions, "flops_per_second": rate, "utilisation": rate / peak}
    for name in ("reference", "plain"):
        figures[f"engine_by_{name}"] = figures[name]["seconds"] / figures["engine"]["seconds"]
    figures["corpus_hours"] = CORPUS_CONVERSATIONS / figures["engine"]["conversations_per_second"] / 3600
    figures["largest_difference"] = {
        name: _difference(results[name], results["engine"]) for name in ("reference", "plain")
    }
    return figures


def _engine(
    model: LlavaModel, conversations: Sequence[SyntheticConversation], pictures: Sequence[Picture], budget: int
) -> tuple[list[list[SequenceScore]], int]:
    """Scores by conversation, and the positions computed; shard by shard, those of one picture together, as the job."""
    order = sorted(range(len(conversations)), key=lambda number: (conversations[number].clean.image, number))
    scores: list[list[SequenceScore]] = [[] for _ in conversations]
    positions = 0
    for start in range(0, len(order), RUNTIME.shard_size):
        numbers = order[start : start + RUNTIME.shard_size]
        versions = [
            (number, version, clean)
            for number in numbers
            for version, clean in ((conversations[number].clean, True), (conversations[number].corrupted, False))
            if version is not None
        ]
        scored: Scored = score_sequences(
            model,
            [version for _, version, _ in versions],
            pictures,
            [clean for _, _, clean in versions],
            True,
            budget,
        )
        positions += scored.positions
        for (number, _, _), score in zip(versions, scored.scores, strict=True):
            scores[number].append(score)
    return scores, positions


def _timed(name: str, work: Callable[[], Any], count: int, device: str, console: Console) -> tuple[Any, dict[str, Any]]:
    _free()
    _reset_peak(device)
    started = perf_counter()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = perf_counter() - started
    say(console, f"{name}: {count:,} conversations in {seconds:,.1f} s")
    return result, {
        "seconds": seconds,
        "conversations_per_second": count / seconds,
        "peak_memory_bytes": _peak(device),
    }


def _matrix_rate(side: int, settings: ProxySettings) -> float:
    """Floating-point operations per second of a large matrix product."""
    left, right = (torch.randn(side, side, device=settings.device).to(getattr(torch, settings.dtype)) for _ in "lr")
    (left @ right).sum().item()
    count, started = 0, perf_counter()
    while perf_counter() - started < MATRIX_SECONDS:
        for _ in range(4):
            product = left @ right
        product.sum().item()
        count += 4
    return count * 2 * side**3 / (perf_counter() - started)


def _difference(found: list[list[SequenceScore]], expected: list[list[SequenceScore]]) -> dict[str, float]:
    pairs = [pair for left, right in zip(found, expected, strict=True) for pair in zip(left, right, strict=True)]
    losses = [abs(left.loss - right.loss) / max(1.0, right.loss) for left, right in pairs]
    vectors = [
        np.abs(left.vector - right.vector).max()
        for left, right in pairs
        if left.vector is not None and right.vector is not None
    ]
    return {"loss": float(max(losses)), "vector": float(max(vectors))}


def _reset_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def _peak(device: str) -> int:
    """Bytes: on a GPU the most that was allocated there, else the largest resident set of this process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _print(figures: dict[str, Any], console: Console) -> None:
    table = table_of("", "conversations/s", "positions", "peak memory, GiB")
    for name in ("reference", "plain", "engine"):
        item = figures[name]
        table.add_row(
            name,
            f"{item['conversations_per_second']:,.2f}",
            f"{item['positions']:,}",
            f"{item['peak_memory_bytes'] / GIB:.2f}",
        )
    console.print(table)
    say(
        console,
        f"{figures['conversations']:,} conversations about {figures['pictures']:,} pictures on {figures['device']}, "
        f"{figures['dtype']}: the engine is {figures['engine_by_reference']:.2f} times as fast as the reference and "
        f"{figures['engine_by_plain']:.2f} times as fast as plain passes.",
    )
    engine = figures["engine"]
    say(
        console,
        f"The engine computes {engine['flops_per_second'] / 1e12:,.3f} TFLOP/s, {100 * engine['utilisation']:.0f} % of "
        f"the {figures['matrix_flops_per_second'] / 1e12:,.3f} of a large matrix product.",
    )
    for name, item in figures["largest_difference"].items():
        say(console, f"Largest difference from {name}: loss {item['loss']:.1e}, vector {item['vector']:.1e}.")
    say(console, f"{CORPUS_CONVERSATIONS:,} conversations would take {figures['corpus_hours']:,.1f} hours like this.")
