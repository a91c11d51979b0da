"""From the original LLaVA form (liuhaotian/llava-v1.5-7b and its relatives) to the one that transformers loads."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from huggingface_hub.errors import StrictDataclassError
from tokenizers import AddedToken
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaTokenizer,
    LlavaConfig,
    LlavaProcessor,
    MistralConfig,
    PreTrainedTokenizerFast,
)

from ards_ray.convert.weights import (
    EMBEDDING,
    NO_LORA,
    VISION,
    Stored,
    adapted_name,
    check_complete,
    check_fits,
    converted_name,
    opened,
    read_json,
    read_lora,
    stored_tensors,
    vision_name,
    weight_files,
    write_weights,
)
from ards_ray.errors import SettingsError

TEXT_CONFIGS = {"llava": LlamaConfig, "llava_llama": LlamaConfig, "llava_mistral": MistralConfig}
SELECT_STRATEGIES: dict[str, Literal["default", "full"]] = {"patch": "default", "cls_patch": "full"}
KNOWN_TOWER = "clip-vit-large-patch14-336"
KNOWN_TOWER_CONFIG: dict[str, Any] = {
    "image_size": 336,
    "patch_size": 14,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "projection_dim": 768,
}
IMAGE_TOKEN = "<image>"
PAD_TOKEN = "<pad>"
ROW_MULTIPLE = 64


def convert_checkpoint(source: Path, output: Path, base: Path | None = None, vision_tower: Path | None = None) -> None:
    """Write the checkpoint in `source` to `output` in the form that LlavaForConditionalGeneration loads.

    The tokenizer gets `<image>` and `<pad>` at its end. The embeddings and the output layer get rows for them, up to a
    multiple of 64, each the mean of the old rows: who takes a softmax must leave out the ids from `<image>` on.

    Args:
        source: A full checkpoint, or the folder that LLaVA's LoRA training wrote.
        output: The new folder. It appears under this name only when it is complete.
        base: The language model that a LoRA folder was trained on; its tokenizer is used.
        vision_tower: A CLIP checkpoint, for the weights that `source` does not hold, and for the shape of the tower.

    Raises:
        SettingsError: something cannot be converted, or `output` is not empty. Nothing is left behind.
    """
    _check_free(output)
    original = _original_config(source)
    language_model = _language_model(source, base)
    tensors = stored_tensors(weight_files(language_model), converted_name)
    lora = NO_LORA
    if base is not None:
        lora = read_lora(source)
        tensors |= _non_lora_tensors(source)
        check_fits(lora, tensors, source)
    if not any(name.startswith(VISION) for name in tensors):
        tensors |= _tower_tensors(original, source, vision_tower)
    if EMBEDDING not in tensors:
        raise SettingsError(f"{language_model}: the weights hold no model.embed_tokens.weight; is it a language model?")

    tokenizer = _tokenizer(language_model)
    rows = _rounded_up(max(tensors[EMBEDDING].shape[0], len(tokenizer)))
    vision = _vision_config(original, source, vision_tower)
    config = _llava_config(original, source, vision, tokenizer, rows)
    config.dtype = opened(tensors[EMBEDDING].file)[tensors[EMBEDDING].key].read().dtype
    check_complete(tensors, config)

    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
        unfinished = Path(scratch) / output.name
        unfinished.mkdir()
        write_weights(unfinished, tensors, lora, rows)
        _processor(vision, config.vision_feature_select_strategy, tokenizer).save_pretrained(unfinished)
        GenerationConfig.from_model_config(config).save_pretrained(unfinished)
        config.save_pretrained(unfinished)
        os.replace(unfinished, output)


def _check_free(output: Path) -> None:
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise SettingsError(f"{output}: exists already; name a new or empty folder for the converted checkpoint")


def _language_model(source: Path, base: Path | None) -> Path:
    """The folder with the language model's weights and tokenizer."""
    adapter = source / "adapter_config.json"
    if adapter.is_file():
        if base is None:
            trained_on = read_json(adapter).get("base_model_name_or_path")
            raise SettingsError(
                f"{source}: is a LoRA adapter; give the language model it belongs to ({trained_on}) with --base"
            )
        return base
    if base is not None:
        raise SettingsError(f"{source}: has no adapter_config.json, so it is no LoRA adapter; leave out --base")
    return source


def _original_config(source: Path) -> dict[str, Any]:
    """The config.json of an original checkpoint, if it is one that can be converted."""
    file = source / "config.json"
    config = read_json(file)
    if "text_config" in config:
        raise SettingsError(f"{file}: has a text_config, so it is in the Hugging Face form already; use it as it is")
    if config.get("model_type") not in TEXT_CONFIGS:
        known = ", ".join(TEXT_CONFIGS)
        raise SettingsError(f"{file}: model_type is {config.get('model_type')!r}; only {known} can be converted")
    projector = config.get("mm_projector_type")
    if projector != "mlp2x_gelu":
        raise SettingsError(
            f"{file}: mm_projector_type is {projector!r}; only mlp2x_gelu, that of LLaVA-1.5, can be converted"
        )
    several = str(config.get("mm_patch_merge_type", "flat")).startswith("spatial")
    if several or str(config.get("image_aspect_ratio")).startswith("anyres"):
        raise SettingsError(f"{file}: cuts images into tiles, as LLaVA-1.6 does; only LLaVA-1.5 can be converted")
    if config.get("mm_use_im_start_end"):
        raise SettingsError(
            f"{file}: mm_use_im_start_end is set; prompts with markers around the image are not supported"
        )
    if config.get("mm_vision_select_feature", "patch") not in SELECT_STRATEGIES:
        raise SettingsError(f"{file}: mm_vision_select_feature must be patch or cls_patch")
    if not isinstance(config.get("mm_vision_select_layer"), int):
        raise SettingsError(f"{file}: mm_vision_select_layer must be a number such as -2")
    return config


def _non_lora_tensors(source: Path) -> dict[str, Stored]:
    """What LLaVA's LoRA training changed beside the adapter: the projector, at least."""
    file = source / "non_lora_trainables.bin"
    if not file.is_file():
        raise SettingsError(f"{file}: is missing; LLaVA's LoRA training writes the projector into it")
    return stored_tensors([file], adapted_name)


def _tower_tensors(original: Mapping[str, Any], source: Path, vision_tower: Path | None) -> dict[str, Stored]:
    if vision_tower is None:
        raise SettingsError(
            f"{source}: the weights of the vision tower are not here; "
            f"give a folder with {original.get('mm_vision_tower')} (mm_vision_tower in config.json) with --vision-tower"
        )
    return stored_tensors(weight_files(vision_tower), vision_name)


def _vision_config(original: Mapping[str, Any], source: Path, vision_tower: Path | None) -> CLIPVisionConfig:
    if vision_tower is None:
        name = str(original.get("mm_vision_tower"))
        if Path(name).name != KNOWN_TOWER:
            raise SettingsError(
                f"{source / 'config.json'}: mm_vision_tower is {name}, whose shape is not known; "
                "give a folder with it with --vision-tower"
            )
        return CLIPVisionConfig(**KNOWN_TOWER_CONFIG)
    file = vision_tower / "config.json"
    model_type = read_json(file).get("model_type")
    if model_type not in ("clip", "clip_vision_model"):
        raise SettingsError(f"{file}: model_type is {model_type!r}; the vision tower must be a CLIP model")
    try:
        return CLIPVisionConfig.from_pretrained(vision_tower, local_files_only=True)
    except (OSError, TypeError, ValueError, StrictDataclassError) as error:
        raise SettingsError(f"{file}: is no configuration of a CLIP vision tower ({error})") from error


def _llava_config(
    original: Mapping[str, Any],
    source: Path,
    vision: CLIPVisionConfig,
    tokenizer: PreTrainedTokenizerFast,
    rows: int,
) -> LlavaConfig:
    strategy = SELECT_STRATEGIES[original.get("mm_vision_select_feature", "patch")]
    image_side, patch_side = _sides(vision)
    config = LlavaConfig(
        text_config=_text_config(original, source, rows, tokenizer.pad_token_id),
        vision_config=vision,
        image_token_index=tokenizer.get_vocab()[IMAGE_TOKEN],
        image_seq_length=(image_side // patch_side) ** 2 + (strategy == "full"),
        projector_hidden_act="gelu",
        vision_feature_layer=original["mm_vision_select_layer"],
        vision_feature_select_strategy=strategy,
    )
    config.architectures = ["LlavaForConditionalGeneration"]
    return config


def _text_config(original: Mapping[str, Any], source: Path, rows: int, pad: int) -> LlamaConfig | MistralConfig:
    config_class = TEXT_CONFIGS[original["model_type"]]
    # rope_theta and rope_scaling are what older versions wrote for rope_parameters.
    names = {field.name for field in fields(config_class)} - {"architectures", "dtype", "transformers_version"}
    names |= {"rope_theta", "rope_scaling"}
    values = {name: original[name] for name in names if name in original}
    if values.get("rope_scaling") is None:
        values.pop("rope_scaling", None)
    try:
        config: LlamaConfig | MistralConfig = config_class(**values | {"vocab_size": rows, "pad_token_id": pad})
    except (TypeError, ValueError, KeyError, StrictDataclassError) as error:
        raise SettingsError(f"{source / 'config.json'}: does not describe a language model ({error})") from error
    return config


def _rounded_up(rows: int) -> int:
    return -(-rows // ROW_MULTIPLE) * ROW_MULTIPLE


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The language model's tokenizer with `<image>` and `<pad>` at its end."""
    try:
        tokenizer = _original_tokenizer(folder)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SettingsError(f"{folder}: the tokenizer cannot be loaded ({error})") from error
    if IMAGE_TOKEN in tokenizer.get_vocab():
        raise SettingsError(
            f"{folder}: the tokenizer has an {IMAGE_TOKEN} token already; is the checkpoint an original one?"
        )
    # One after the other: in one call the pad token would come first.
    tokenizer.add_tokens([AddedToken(IMAGE_TOKEN, special=True, normalized=False)], special_tokens=True)
    tokenizer.add_special_tokens({"pad_token": AddedToken(PAD_TOKEN, special=True, normalized=False)})
    return tokenizer


def _original_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    tokenizer: PreTrainedTokenizerFast
    if (folder / "tokenizer.json").is_file():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        return tokenizer
    if not (folder / "tokenizer.model").is_file():
        raise SettingsError(f"{folder}: no tokenizer here, neither tokenizer.json nor tokenizer.model")
    # LLaVA was trained with transformers 4, where a tokenizer that says nothing about `legacy` was a legacy one;
    # in transformers 5 it is not, and the text after each </s> would get other tokens.
    settings = folder / "tokenizer_config.json"
    legacy = read_json(settings).get("legacy") if settings.is_file() else None
    tokenizer = LlamaTokenizer.from_pretrained(folder, local_files_only=True, legacy=legacy is not False)
    return tokenizer


def _sides(vision: CLIPVisionConfig) -> tuple[int, int]:
    """The sides of the image and of a patch, in pixels."""
    image, patch = vision.image_size, vision.patch_size
    if not isinstance(image, int) or not isinstance(patch, int):
        raise SettingsError(f"the vision tower has image_size {image} and patch_size {patch}; both must be one number")
    return image, patch


def _processor(vision: CLIPVisionConfig, strategy: str, tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    image_side, patch_side = _sides(vision)
    return LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": image_side}, crop_size={"height": image_side, "width": image_side}
        ),
        tokenizer=tokenizer,
        patch_size=patch_side,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=1,
    )
