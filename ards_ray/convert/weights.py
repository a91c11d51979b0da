"""The weights of an original LLaVA checkpoint: where each tensor lies, its new name, and how it is written again."""

import json
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import LlavaConfig, LlavaForConditionalGeneration

from ards_ray.errors import SettingsError

# While a shard is written it is in memory twice: safetensors turns all of it into bytes first.
MAX_SHARD_BYTES = 25 * 10**8
EMBEDDING = "language_model.model.embed_tokens.weight"
HEAD = "language_model.lm_head.weight"
VISION = "vision_tower.vision_model."
# Original prefix, prefix in the files that transformers writes. The first that fits counts.
RENAMED = (
    ("model.vision_tower.vision_tower.vision_model.", VISION),
    ("model.mm_projector.0.", "multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "multi_modal_projector.linear_2."),
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)
# transformers' own names in memory, the same in its files.
IN_MEMORY = (
    ("model.language_model.", "language_model.model."),
    ("model.vision_tower.", VISION),
    ("model.multi_modal_projector.", "multi_modal_projector."),
    ("lm_head.", "language_model.lm_head."),
)
# Constants that older versions stored with the weights.
COMPUTED = (".rotary_emb.inv_freq", ".embeddings.position_ids")
LORA_NAME = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")
# Other ways to start an adapter (PiSSA, OLoRA, ...) change the base's weights too, which the adapter does not hold.
LORA_STARTS = (None, True, False, "gaussian")
LORA_UNKNOWN = ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out")


@dataclass(frozen=True)
class Stored:
    """One tensor in a weight file, by its name there."""

    file: Path
    key: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Lora:
    """Low-rank changes by the converted name of the weight they belong to: `W + scaling * B @ A`.

    `factors` holds (A: [r, inputs], B: [outputs, r]).
    """

    factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    scaling: float

    def merged(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """The weight with its change, computed in float32, in the weight's own dtype."""
        if name not in self.factors:
            return weight
        first, second = self.factors[name]
        return (weight.float() + self.scaling * (second.float() @ first.float())).to(weight.dtype)


NO_LORA = Lora({}, 1.0)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        SettingsError: the file is missing or holds something else.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise SettingsError(f"{file}: is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise SettingsError(f"{file}: holds no JSON object")
    return value


@dataclass(frozen=True)
class Lazy:
    """A tensor that is read when asked for."""

    shape: tuple[int, ...]
    read: Callable[[], torch.Tensor]


def opened(file: Path) -> dict[str, Lazy]:
    """The tensors of a .bin or .safetensors file by name. Nothing but tensors is ever unpickled.

    Raises:
        SettingsError: the file is damaged or holds something other than tensors.
    """
    try:
        if file.suffix == ".safetensors":
            handle: Any = safe_open(file, framework="pt")
            names = list(handle.keys())
            return {
                name: Lazy(tuple(handle.get_slice(name).get_shape()), partial(handle.get_tensor, name))
                for name in names
            }
        content = torch.load(file, weights_only=True, mmap=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise SettingsError(
            f"{file}: holds something other than tensors, which could run code and is not loaded. "
            "Get the checkpoint anew from its author, as safetensors if possible"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, SafetensorError) as error:
        raise SettingsError(
            f"{file}: cannot be read as weights ({error}). Is the download complete? "
            "A .bin must be one that torch 1.6 or later wrote"
        ) from error
    if not isinstance(content, dict):
        raise SettingsError(f"{file}: must hold tensors by name, but holds a {type(content).__name__}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise SettingsError(f"{file}: must hold tensors by name and nothing else, but {name!r} is no tensor")
    return {name: Lazy(tuple(value.shape), partial(torch.Tensor.detach, value)) for name, value in content.items()}


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a checkpoint's weights: those of its index, or what goes by a usual name.

    Raises:
        SettingsError: there are none, or one that the index names is missing.
    """
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _indexed_files(index)
        if (folder / name).is_file():
            return [folder / name]
    files = [file for file in folder.glob("*.safetensors") if not file.name.startswith("adapter_")]
    files = sorted(files) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise SettingsError(f"{folder}: no weights here, neither pytorch_model*.bin nor *.safetensors")
    return files


def _indexed_files(index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise SettingsError(f"{index}: has no weight_map")
    files = [index.parent / Path(name).name for name in sorted(set(weight_map.values()))]
    for file in files:
        if not file.is_file():
            raise SettingsError(f"{file}: is missing, but {index.name} names it; download it")
    return files


def stored_tensors(files: Iterable[Path], renamed: Callable[[str], str | None]) -> dict[str, Stored]:
    """All tensors of the files by their new names; those whose new name is None are left out."""
    found = {}
    for file in files:
        for key, lazy in opened(file).items():
            name = renamed(key)
            if name is not None:
                found[name] = Stored(file, key, lazy.shape)
    return found


def converted_name(original: str) -> str | None:
    """What transformers calls this tensor of an original LLaVA checkpoint; None if it is not stored any more."""
    if original.endswith(COMPUTED):
        return None
    return _replaced(original, RENAMED)


def adapted_name(original: str) -> str | None:
    """`converted_name` for non_lora_trainables.bin, whose names have up to two more `model.` in front."""
    name = original.removeprefix("base_model.")
    if name.startswith(("model.model.", "model.lm_head.")):
        name = name.removeprefix("model.")
    return converted_name(name)


def vision_name(original: str) -> str | None:
    """`converted_name` for a CLIP checkpoint: the text half is left out, the vision half may lack its prefix."""
    if original.endswith(COMPUTED):
        return None
    name = original.removeprefix("vision_model.")
    halves = ("embeddings.", "encoder.", "pre_layrnorm.", "post_layernorm.")
    return VISION + name if name.startswith(halves) else None


def _replaced(name: str, prefixes: Iterable[tuple[str, str]]) -> str:
    for old, new in prefixes:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def expected_shapes(config: LlavaConfig) -> dict[str, tuple[int, ...]]:
    """The names and shapes that transformers wants to find in a checkpoint with this configuration."""
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    return {_replaced(name, IN_MEMORY): tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def check_complete(tensors: Mapping[str, Stored], config: LlavaConfig) -> None:
    """Compare what is there with what the model needs; the vocabulary may still be too short.

    Raises:
        SettingsError: a tensor is missing, unknown or of another shape.
    """
    expected = expected_shapes(config)
    for name, stored in tensors.items():
        if name not in expected:
            raise SettingsError(
                f"{stored.file}: {stored.key} is no part of a LLaVA-1.5 model; this checkpoint has another architecture"
            )
        rows = 1 if name in (EMBEDDING, HEAD) else 0
        if stored.shape[rows:] != expected[name][rows:]:
            raise SettingsError(
                f"{stored.file}: {stored.key} has the shape {list(stored.shape)}, "
                f"but by the configuration it should be {list(expected[name])}"
            )
    for name in expected:
        if name not in tensors:
            raise SettingsError(f"the weights hold no {name}; is the checkpoint complete, and its config.json its own?")


def read_lora(folder: Path) -> Lora:
    """A PEFT adapter, all of it in memory.

    Raises:
        SettingsError: it is no plain LoRA adapter, or its parts do not fit together.
    """
    file = folder / "adapter_config.json"
    settings = read_json(file)
    for key in LORA_UNKNOWN:
        if settings.get(key):
            raise SettingsError(
                f"{file}: {key} = {settings[key]!r} cannot be merged; merge the adapter with PEFT first"
            )
    if settings.get("peft_type") != "LORA" or settings.get("init_lora_weights") not in LORA_STARTS:
        raise SettingsError(
            f"{file}: only plain LoRA adapters can be merged, not peft_type {settings.get('peft_type')!r} "
            f"with init_lora_weights {settings.get('init_lora_weights')!r}; merge it with PEFT first"
        )
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise SettingsError(f"{file}: r and lora_alpha must be numbers, not {rank!r} and {alpha!r}")
    scaling = alpha / (rank**0.5 if settings.get("use_rslora") else rank)
    return Lora(_factors(folder, rank), scaling)


def _factors(folder: Path, rank: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    files = [folder / f"adapter_model.{suffix}" for suffix in ("safetensors", "bin")]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise SettingsError(
            f"{folder}: holds adapter_config.json but no adapter_model.safetensors or adapter_model.bin"
        )
    sides: dict[str, dict[str, torch.Tensor]] = {"A": {}, "B": {}}
    for key, lazy in opened(file).items():
        match = LORA_NAME.fullmatch(key)
        name = converted_name(f"{match['module']}.weight") if match else None
        if match is None or name is None:
            raise SettingsError(f"{file}: {key} is no part of a plain LoRA adapter; merge the adapter with PEFT first")
        if len(lazy.shape) != 2 or lazy.shape[0 if match["side"] == "A" else 1] != rank:
            raise SettingsError(f"{file}: {key} has the shape {list(lazy.shape)}, which does not fit r = {rank}")
        sides[match["side"]][name] = lazy.read()
    alone = sides["A"].keys() ^ sides["B"].keys()
    if alone:
        raise SettingsError(f"{file}: of {min(alone)} only one of lora_A and lora_B is there; the file is not complete")
    return {name: (sides["A"][name], sides["B"][name]) for name in sides["A"]}


def check_fits(lora: Lora, tensors: Mapping[str, Stored], folder: Path) -> None:
    """Every change must have its weight.

    Raises:
        SettingsError: a weight is missing or of another shape.
    """
    for name, (first, second) in lora.factors.items():
        change = (second.shape[0], first.shape[1])
        if name not in tensors or tensors[name].shape != change:
            found = list(tensors[name].shape) if name in tensors else "nothing"
            raise SettingsError(
                f"{folder}: the adapter changes {name} with shape {list(change)}, but the base has {found}; "
                "give the language model that it was trained on with --base"
            )


def with_rows(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """[n, width] with the mean of its rows repeated at the end until it is [rows, width]."""
    if len(tensor) >= rows:
        return tensor
    mean = tensor.mean(dim=0, dtype=torch.float32).to(tensor.dtype)
    return torch.cat([tensor, mean.expand(rows - len(tensor), -1)])


class ShardWriter:
    """Writes tensors into safetensors files of a limited size, and their index."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._pending: dict[str, torch.Tensor] = {}
        self._pending_bytes = 0
        self._total_bytes = 0
        self._shards: list[list[str]] = []

    def add(self, name: str, tensor: torch.Tensor) -> None:
        if self._pending and self._pending_bytes + tensor.nbytes > MAX_SHARD_BYTES:
            self._flush()
        # The copy lets go of the source file, whose mapped pages would otherwise stay until the shard is full.
        self._pending[name] = tensor.clone(memory_format=torch.contiguous_format)
        self._pending_bytes += tensor.nbytes
        self._total_bytes += tensor.nbytes

    def close(self) -> None:
        """Write what is left, and give the files their names, which hold the number of files."""
        self._flush()
        count = len(self._shards)
        if count == 1:
            self._shard(0).rename(self._folder / "model.safetensors")
            return
        weight_map = {}
        for number, names in enumerate(self._shards):
            file = self._folder / f"model-{number + 1:05d}-of-{count:05d}.safetensors"
            self._shard(number).rename(file)
            weight_map.update(dict.fromkeys(names, file.name))
        index = {"metadata": {"total_size": self._total_bytes}, "weight_map": dict(sorted(weight_map.items()))}
        (self._folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")

    def _flush(self) -> None:
        shard = self._shard(len(self._shards))
        try:
            save_file(self._pending, shard, metadata={"format": "pt"})
        except (OSError, SafetensorError) as error:
            raise SettingsError(
                f"{self._folder.parent.parent}: cannot be written; is the disk full? ({error})"
            ) from error
        # safetensors makes files that nobody else may read; the nodes of a cluster must.
        shard.chmod(0o644)
        self._shards.append(list(self._pending))
        self._pending = {}
        self._pending_bytes = 0

    def _shard(self, number: int) -> Path:
        return self._folder / f"shard-{number}.safetensors"


def write_weights(folder: Path, tensors: Mapping[str, Stored], lora: Lora, rows: int) -> None:
    """Write the tensors under their new names, file by file, so that one file at a time is open."""
    writer = ShardWriter(folder)
    by_file: dict[Path, dict[str, str]] = {}
    for name, stored in tensors.items():
        by_file.setdefault(stored.file, {})[name] = stored.key
    for file, names in by_file.items():
        source = opened(file)
        for name, key in names.items():
            tensor = lora.merged(name, source[key].read())
            writer.add(name, with_rows(tensor, rows) if name in (EMBEDDING, HEAD) else tensor)
    writer.close()
