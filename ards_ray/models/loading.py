"""Configurations and weights from a checkpoint folder, through the library, and what goes wrong there."""

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from ards_ray.config import ProxySettings
from ards_ray.errors import SettingsError
from ards_ray.models.adapter import check_adapter, check_fit, merge_adapter
from ards_ray.models.attention import varlen_problem, varlen_works
from ards_ray.models.scorable import check_rope, check_weights

_CLIP = "vision_tower."


def load_config(kind: Any, folder: Path) -> Any:
    """The checkpoint's configuration as the library's class `kind`.

    Raises:
        SettingsError: it is not one, or one with positions that depend on other sequences.
    """
    file = folder / "config.json"
    try:
        config = kind.from_pretrained(folder, local_files_only=True)
    except (OSError, AttributeError, ValueError, KeyError, TypeError, StrictDataclassError) as error:
        raise SettingsError(f"{file}: not a configuration of a known model ({error})") from error
    check_rope(config.to_dict(), file)
    return config


def device_here(settings: ProxySettings) -> tuple[str, str]:
    """Device and dtype of a model in this process; for `auto` a GPU if there is one, and what suits the device."""
    device, dtype = settings.device, settings.dtype
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" else "float32"
    return device, dtype


def check_proxy(folder: Path, settings: ProxySettings) -> None:
    """Refuse weights and adapters of which their files tell that they cannot be used, before any weights are loaded.

    Raises:
        SettingsError: names the file.
    """
    check_weights(folder)
    if settings.adapter is not None:
        check_fit(settings.adapter, load_config(AutoConfig, folder))


def load_weights(kind: Any, folder: Path, settings: ProxySettings) -> Any:
    """The checkpoint's weights as the library's class `kind`, the adapter merged, ready on the device.

    Raises:
        SettingsError: they are quantised, cannot be loaded, or some are missing.
    """
    check_weights(folder)
    if settings.adapter is not None:
        check_adapter(settings.adapter)
    try:
        loaded: Any = kind.from_pretrained(
            folder,
            dtype=getattr(torch, settings.dtype),
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SettingsError(f"{folder}: the weights cannot be loaded ({error})") from error
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        # The library puts random numbers in their place.
        raise SettingsError(f"{folder}: the checkpoint has no weights for {', '.join(missing[:3])}")
    if settings.adapter is not None:
        model = merge_adapter(model, settings.adapter)
    if settings.dtype == "float32":
        # GPUs round the factors of convolutions and products to ten bits unless they are told.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return model.eval().requires_grad_(False).to(settings.device)


def save_model(model: Any, folder: Path) -> None:
    """Write a model of the library's as a checkpoint, its weights under the names that published checkpoints have.

    The library leaves out a level of CLIP's names when it writes, and finds them either way when it reads; others,
    vLLM for one, do not.
    """
    model.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        save_file({_published(name): weight for name, weight in load_file(file).items()}, file, {"format": "pt"})
    index = folder / "model.safetensors.index.json"
    if index.exists():
        content = json.loads(index.read_text())
        content["weight_map"] = {_published(name): file for name, file in content["weight_map"].items()}
        index.write_text(json.dumps(content, indent=2))


def _published(name: str) -> str:
    rest = name.removeprefix(_CLIP)
    return name if rest == name or rest.startswith("vision_model.") else f"{_CLIP}vision_model.{rest}"


def use_varlen(text: Any) -> bool:
    """Whether the variable-length kernel serves this text model where it lies; FlashAttention 3 if it is installed."""
    weight = text.layers[0].self_attn.q_proj.weight
    if weight.device.type != "cuda":
        return False
    config = text.config
    heads, key_heads, width = config.num_attention_heads, config.num_key_value_heads, text.layers[0].self_attn.head_dim
    kernel = (weight.device, weight.dtype, heads, key_heads, width)
    if "FA3" in torch.nn.attention.list_flash_attention_impls():
        # Where it is not installed PyTorch's own kernel, FlashAttention 2, serves.
        with suppress(ImportError, RuntimeError, ValueError):
            torch.nn.attention.activate_flash_attention_impl("FA3")
            if varlen_works(*kernel):
                return True
            torch.nn.attention.restore_flash_attention_impl()
    problem = varlen_problem(*kernel)
    if problem is not None:
        # To stderr, which Ray brings to the driver, the same line of several actors once.
        logging.getLogger(__name__).warning(
            "PyTorch's variable-length attention is not used (%s); segments are computed one by one, which is slower",
            problem,
        )
    return problem is None
