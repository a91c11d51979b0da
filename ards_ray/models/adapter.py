"""PEFT adapters: which of them can be merged, and merging, so that the model computes what it did with the adapter."""

import dataclasses
import json
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from ards_ray.errors import SettingsError
from ards_ray.models.checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_folder

# Those whose merged weights compute what the adapter does; the tests hold each of them to it.
MERGEABLE = (
    *("ADALORA", "BOFT", "DELORA", "FOURIERFT", "GLORA", "GRALORA", "HIRA", "HRA", "IA3", "LN_TUNING", "LOHA", "LOKR"),
    *("LORA", "MISS", "OFT", "ROAD", "SHIRA", "TRAINABLE_TOKENS", "VERA"),
)
# Other ways to start (PiSSA, OLoRA, CorDA, ...) change the base's weights too, which the adapter does not hold.
STARTS = (None, True, False, "gaussian", "eva", "mica", "orthogonal")
# LoRA that is more than a fixed change of each weight, or that changes the base too.
NOT_MERGEABLE = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "monteclora_config",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
# Keys of ms-swift's that matter in training alone.
TRAINING_KEYS = {"lora_dtype", "lorap_emb_lr", "lorap_lr_ratio"}
# Tokens on which the merged model is compared with the adapted one.
COMPARED = 8
_PREFIX = "base_model.model."
_ADVICE = "merge it with the code that trained it, and give the merged model"


def check_adapter(adapter: str) -> Path:
    """The folder of a PEFT adapter that can be merged, as far as its files tell.

    Raises:
        SettingsError: the folder holds none, or one that cannot be merged.
    """
    folder = adapter_folder(adapter)
    file = folder / ADAPTER_CONFIG
    try:
        config = json.loads(file.read_text())
        with safe_open(folder / ADAPTER_WEIGHTS, "pt"):
            pass
    except (OSError, ValueError, SafetensorError) as error:
        raise SettingsError(f"{folder}: the adapter cannot be read ({error})") from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind not in MERGEABLE:
        raise SettingsError(f"{file}: peft_type {kind!r} cannot be merged into a model; known: {', '.join(MERGEABLE)}")
    start = config.get("init_lora_weights")
    if start not in STARTS:
        raise SettingsError(
            f"{file}: init_lora_weights {start!r} changes the base too, and the adapter does not hold that change; "
            "save the adapter with path_initial_model_for_weight_conversion, or give the merged model"
        )
    for key in NOT_MERGEABLE:
        if config.get(key):
            raise SettingsError(f"{file}: an adapter with {key} cannot be merged into a model")
    unknown = sorted(key for key, value in config.items() if value and key not in TRAINING_KEYS | _known_keys(kind))
    if unknown:
        raise SettingsError(
            f"{file}: the installed PEFT does not know {_listed(unknown)}; install the version that wrote the adapter"
        )
    beside = next(folder.glob("non_lora*"), None)
    if beside is not None:
        raise SettingsError(
            f"{folder}: {beside.name} holds weights that would be left out; merge it and the adapter with the code "
            "that trained them, and give the merged model"
        )
    return folder


def _known_keys(kind: str) -> set[str]:
    # Imported late: it takes seconds that runs without an adapter need not wait.
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    mapping: Any = PEFT_TYPE_TO_CONFIG_MAPPING
    return {field.name for field in dataclasses.fields(mapping[kind])}


def merge_adapter(model: Any, adapter: str) -> Any:
    """Merge a PEFT adapter into the weights of the library's model.

    The merged model computes what the unmerged one does, also where weights are shared in one of them alone.

    Raises:
        SettingsError: the adapter cannot be merged, does not fit the model, or does not find a place as a whole.
    """
    try:
        return _merge(model, check_adapter(adapter))
    except SettingsError:
        raise
    except Exception as error:
        # Each kind of adapter raises its own.
        raise _misfit(adapter, error) from error


def check_fit(adapter: str, config: Any) -> None:
    """Refuse an adapter that does not fit a model, before any weights are loaded.

    Args:
        adapter: The adapter's folder.
        config: The model's configuration, as the library reads it.

    Raises:
        SettingsError: the adapter cannot be merged, does not fit the model, or does not find a place as a whole.
    """
    from transformers import AutoModelForImageTextToText

    folder = check_adapter(adapter)
    with safe_open(folder / ADAPTER_WEIGHTS, "pt") as stored:
        shapes = {key: stored.get_slice(key).get_shape() for key in stored.keys()}  # noqa: SIM118
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
        tensors = {key: torch.empty(shape) for key, shape in shapes.items()}
        try:
            _load(model, folder, tensors)
        except SettingsError:
            raise
        except Exception as error:
            # Some kinds cannot be made without numbers: merging tells what is wrong with them.
            if isinstance(error, ValueError) or "size mismatch" in str(error):
                raise _misfit(adapter, error) from error


def _misfit(adapter: str, error: Exception) -> SettingsError:
    return SettingsError(f"{adapter}: the adapter does not fit the model ({' '.join(str(error).split())})")


def _merge(model: Any, folder: Path) -> Any:
    from peft import get_peft_model_state_dict

    file = folder / ADAPTER_WEIGHTS
    stored = load_file(file)
    broken = [key for key, tensor in stored.items() if not tensor.float().isfinite().all()]
    _refuse(file, broken, "hold numbers that are not finite")
    names = {_PREFIX + name for name, _ in model.named_parameters(remove_duplicate=False)}
    adapted, keys = _load(model, folder, stored)
    placed = {**adapted.state_dict(), **get_peft_model_state_dict(adapted, save_embedding_layers=False)}
    lost = [old for key, old in keys.items() if not torch.equal(placed[key], stored[old].to(placed[key]))]
    _refuse(file, lost, "disagree with others about weights that the model shares")
    ids = _ids_to_compare(adapted.eval())
    expected = _logits_of(model, ids)
    _untie(adapted, names)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        _merge_tokens_within(adapted)
        merged = adapted.merge_and_unload()
    _check_merged(merged, ids, expected, folder)
    return merged


def _load(model: Any, folder: Path, stored: Mapping[str, torch.Tensor]) -> tuple[Any, dict[str, str]]:
    """The model with the adapter beside its weights.

    Args:
        model: The library's model.
        folder: That of the adapter.
        stored: The adapter's tensors.

    Returns:
        The adapted model, and the name in the file of each tensor by its name now.

    Raises:
        SettingsError: names tensors that have no place, or that are missing.
    """
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

    file = folder / ADAPTER_WEIGHTS
    rename = _renamer(model)
    keys = {_key_now(key, rename): key for key in stored}
    _refuse(file, sorted(stored.keys() - {*keys.values()}), "are there twice, under other names")
    config: Any = PeftConfig.from_pretrained(str(folder))
    _rename_in_config(config, rename, keys)
    with warnings.catch_warnings():
        # They are untied before anything is merged.
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`", UserWarning)
        warnings.filterwarnings("error", ".*(no tied modules were found|does not have tied weights)", UserWarning)
        adapted: Any = PeftModel(model, config)
    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    known = {*wanted, *adapted.state_dict()}
    _refuse(file, [old for key, old in keys.items() if key not in known], "have no place in the model")
    _refuse(file, sorted(wanted.keys() - keys.keys()), "are missing")
    set_peft_model_state_dict(adapted, {key: stored[old] for key, old in keys.items()})
    return adapted, keys


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _refuse(file: Path, names: Sequence[str], problem: str) -> None:
    if names:
        raise SettingsError(f"{file}: {len(names)} of the adapter's tensors {problem}: {_listed(names)}")


def _renamer(model: Any) -> Callable[[str], str]:
    """From a name in older versions of the library to the name now; a name of now stays as it is."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    conversions = get_model_conversion_mapping(model, add_legacy=False)
    renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
    return lambda name: rename_source_key(name, renamings, [])[0]


def _key_now(key: str, rename: Callable[[str], str]) -> str:
    # Training code that writes the weights itself leaves PEFT's name of the only adapter in them.
    name = key.removeprefix(_PREFIX).replace(".default.", ".").removesuffix(".default")
    return _PREFIX + rename(name) if key.startswith(_PREFIX) else key


def _rename_in_config(config: Any, rename: Callable[[str], str], keys: Mapping[str, str]) -> None:
    """Let the configuration name modules as the library does now, if it was written with an older version.

    Args:
        config: The adapter's configuration.
        rename: From an older name to that of now.
        keys: The name in the file of each tensor, by its name now.
    """
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING
    from peft.tuners.tuners_utils import check_target_module_exists
    from peft.utils.other import get_pattern_key

    if all(new == old for new, old in keys.items()):
        return
    for field in ("modules_to_save", "target_parameters"):
        if getattr(config, field, None):
            setattr(config, field, [rename(name) for name in getattr(config, field)])
    if isinstance(getattr(config, "trainable_token_indices", None), dict):
        config.trainable_token_indices = {rename(key): value for key, value in config.trainable_token_indices.items()}
    infix = f".{PEFT_TYPE_TO_PREFIX_MAPPING[config.peft_type]}"
    modules = {
        new.split(infix)[0].removeprefix(_PREFIX): old.split(infix)[0].removeprefix(_PREFIX)
        for new, old in keys.items()
        if infix in new
    }
    for field in ("rank_pattern", "alpha_pattern"):
        pattern: dict[str, int] | None = getattr(config, field, None)
        if pattern:
            matched = {new: get_pattern_key([*pattern], old) for new, old in modules.items()}
            setattr(config, field, {re.escape(new): pattern[key] for new, key in matched.items() if key in pattern})
    if getattr(config, "target_parameters", None):
        return
    targets = config.target_modules
    by_pattern = isinstance(targets, str) and targets != "all-linear"
    if by_pattern or not all(check_target_module_exists(config, name) for name in modules):
        # What it says of the older names, the names of the tensors tell.
        config.target_modules = sorted(modules)
        for field in ("exclude_modules", "layers_to_transform", "layers_pattern"):
            if hasattr(config, field):
                setattr(config, field, None)


def _merge_tokens_within(adapted: Any) -> None:
    """Merge what other layers of PEFT wrap: merging the outer one would write to a copy of the inner one's weights."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import TrainableTokensWrapper

    for layer in [*adapted.modules()]:
        inner = getattr(layer, "base_layer", None) if isinstance(layer, BaseTunerLayer) else None
        if isinstance(inner, TrainableTokensWrapper):
            layer.base_layer = inner.unload_and_optionally_merge_module(True, safe_merge=False, adapter_names=None)


def _ids_to_compare(adapted: Any) -> torch.Tensor:
    """Token ids from all over the vocabulary, and some of those that the adapter changes alone."""
    from peft.tuners.trainable_tokens import TrainableTokensLayer

    layers = [layer for layer in adapted.modules() if isinstance(layer, TrainableTokensLayer)]
    own = {index for layer in layers for indices in layer.token_indices.values() for index in indices}
    last = adapted.get_input_embeddings().weight.shape[0] - 1
    spread = torch.linspace(0, last, COMPARED).long().tolist()
    return torch.tensor([[*spread, *sorted(own)[:COMPARED]]])


def _logits_of(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        logits: torch.Tensor = model.get_output_embeddings()(hidden)
        return logits.float()


def _check_merged(merged: Any, ids: torch.Tensor, expected: torch.Tensor, folder: Path) -> None:
    """Refuse a merged model that does not compute what the adapted one did.

    Args:
        merged: The library's model, the adapter in its weights.
        ids: Token ids.
        expected: Their logits by the model with the adapter beside its weights.
        folder: That of the adapter.

    Raises:
        SettingsError: they differ by more than rounding, or a part of the adapter is still beside the weights.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
    left = [name for name, module in merged.named_modules() if isinstance(module, kinds)]
    if left:
        raise SettingsError(f"{folder}: the adapter cannot be merged into {_listed(left)}; {_ADVICE}")
    difference = float((_logits_of(merged, ids) - expected).norm() / expected.norm())
    # The merged weights are rounded once more; half of the digits are left to what the layers make of it.
    if not difference <= torch.finfo(merged.dtype).eps ** 0.5:
        raise SettingsError(
            f"{folder}: merged into the weights, the adapter computes something else than beside them (logits differ "
            f"by {difference:.2g} of their size); {_ADVICE}"
        )


def _untie(adapted: Any, names: set[str]) -> None:
    """Give each of the weights that share their storage its own, where the adapter changes some of them alone.

    Args:
        adapted: The model with its adapter.
        names: The names that its weights have where the adapter does not reach.
    """
    sharing = defaultdict(list)
    for name, weight in adapted.named_parameters(remove_duplicate=False):
        sharing[weight.device, weight.data_ptr()].append(name)
    for shared in sharing.values():
        if len(shared) > 1 and not names.issuperset(shared):
            for name in shared[1:]:
                module, _, leaf = name.rpartition(".")
                weight = adapted.get_parameter(name)
                setattr(adapted.get_submodule(module), leaf, torch.nn.Parameter(weight.detach().clone(), False))
            for part in (adapted.config, adapted.config.get_text_config()):
                part.tie_word_embeddings = False
