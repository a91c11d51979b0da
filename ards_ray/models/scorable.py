"""Checkpoints that the library loads without a word and whose losses would be wrong, as far as their files tell."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ards_ray.errors import SettingsError
from ards_ray.models.checkpoint import ADAPTER_CONFIG

# Frequencies that are the same for every sequence. Others depend on the longest of a batch, or of those before.
ROPE_TYPES = ("default", "linear", "llama3", "yarn", "mrope", "axial")
# The libraries that quantise weights say so under one of these keys, and some in a file of their own.
QUANTISATION_KEYS = (
    "quantization_config",
    "compression_config",
    "quantization",
    "quantize_config",
    "quant_config",
    "quant_method",
)
QUANTISATION_FILES = "*quant*.json"
# Of weights, and of the numbers of positions that older checkpoints hold.
DTYPES = ("F64", "F32", "F16", "BF16", "I64")
# What a configuration says of them.
DTYPE_NAMES = ("float64", "double", "float32", "float", "float16", "half", "bfloat16", "auto")
_ADVICE = "give the checkpoint that they were made from, in bfloat16, float16 or float32"


def check_rope(config: dict[str, Any], file: Path) -> None:
    """Refuse rotary positions that make the loss of a sequence depend on others.

    Args:
        config: The checkpoint's configuration, as the library reads it.
        file: Where it was read.

    Raises:
        SettingsError: names the type.
    """
    for found in _under(config, ("rope_parameters", "rope_scaling")):
        for kind in _under(found, ("rope_type", "type")):
            if kind not in ROPE_TYPES:
                raise SettingsError(
                    f"{file}: rope_type {kind!r} cannot be used: a loss would depend on what is computed before it or "
                    f"with it; known are {', '.join(ROPE_TYPES)}"
                )


def check_leftovers(folder: Path) -> None:
    """Refuse a checkpoint with the files of an adapter beside its weights: the library applies it unasked.

    Raises:
        SettingsError: names the files.
    """
    files = sorted(file.name for pattern in (ADAPTER_CONFIG, "adapter_model.*") for file in folder.glob(pattern))
    if files:
        raise SettingsError(
            f"{folder}: holds {' and '.join(files)} beside its own weights; if the adapter is merged into them, delete "
            "what is left of it, else move it to a folder of its own and give that with --set proxy.adapter (evaluate: "
            "--adapter)"
        )


def check_weights(folder: Path) -> None:
    """Refuse quantised weights: the library ignores how they were quantised, or turns them back on a CPU.

    Raises:
        SettingsError: names where it is said.
    """
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: cannot be read ({error})") from error
    for found in filter(None, _under(config, QUANTISATION_KEYS)):
        method = found.get("quant_method") if isinstance(found, dict) else found
        raise SettingsError(f"{file}: the weights are quantised ({method or 'no quant_method said'}); {_ADVICE}")
    for found in _under(config, ("dtype", "torch_dtype")):
        # The library knows one type for all parts, and one for each.
        for dtype in found.values() if isinstance(found, dict) else [found]:
            if isinstance(dtype, str) and dtype.removeprefix("torch.") not in DTYPE_NAMES:
                raise SettingsError(f"{file}: dtype {dtype!r} says that the weights are quantised; {_ADVICE}")
    for beside in sorted(folder.glob(QUANTISATION_FILES)):
        raise SettingsError(f"{beside}: the weights are quantised; {_ADVICE}")
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, "pt") as tensors:
                kinds = {name: tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise SettingsError(f"{folder}: the weights cannot be loaded ({file.name}: {error})") from error
        for name, kind in kinds.items():
            if kind not in DTYPES:
                raise SettingsError(f"{file}: {name} is stored as {kind}, so the weights are quantised; {_ADVICE}")


def _under(tree: Any, keys: tuple[str, ...]) -> Iterator[Any]:
    """What stands under these keys, at any depth."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in keys:
                yield value
            yield from _under(value, keys)
    elif isinstance(tree, list):
        for value in tree:
            yield from _under(value, keys)
