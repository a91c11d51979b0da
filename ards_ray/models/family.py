"""What a model family must do to be a proxy, and how a checkpoint finds its family."""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import Round
from ards_ray.errors import SettingsError
from ards_ray.models.checkpoint import ADAPTER_CONFIG
from ards_ray.models.scorable import check_leftovers
from ards_ray.models.sequence import Picture


class ProxyInputs(Protocol):
    """The side of a family that runs on CPUs: text to tokens, images to pixels. No weights.

    Attributes:
        config: The checkpoint's configuration, as the library has it.
        tokenizer: Its tokenizer.
        hidden_size: Width of the text model.
        vocabulary: A model says the first so many ids.
        image_token: The id that stands for a position of a picture.
        upright: Whether the family's training turns pictures as their EXIF orientation says.
    """

    config: Any
    tokenizer: Any
    hidden_size: int
    vocabulary: int
    image_token: int
    upright: bool

    def picture(self, image: Image.Image) -> Picture:
        """The image as the vision tower takes it.

        Raises:
            ConversationError: the image has a shape that the family cannot take.
        """

    def encode(self, rounds: Sequence[Round], picture: Picture | None, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids int32 [positions], the image expanded, and targets bool [positions], cut after `limit`.

        Raises:
            ConversationError: no target token is left, or the text holds a token that is reserved.
        """

    def encode_question(self, question: str, pictures: Sequence[Picture]) -> np.ndarray:
        """Token ids int32 [positions] of a single question up to where its answer begins, the images expanded.

        Args:
            question: The text, with an image tag for each picture.
            pictures: The pictures, in their order.

        Raises:
            ConversationError: the text holds a token that is reserved.
        """


class ProxyModel(Protocol):
    """The side of a family that holds the weights.

    Attributes:
        hidden_size: Width of the text model.
        vocabulary: The loss is over the first so many ids.
        image_token: The id that stands for a position of a picture.
        position_axes: Numbers of a position: 1, or 3 where positions are those of time, height and width.
        window: How many positions a position sees, its own included; None for all before it.
        varlen: Whether the device's variable-length attention kernel is used.
        text: The library's text model, a decoder of Llama's shape.
        head: From its states to logits.
    """

    hidden_size: int
    vocabulary: int
    image_token: int
    position_axes: int
    window: int | None
    varlen: bool
    text: Any
    head: torch.nn.Linear

    def image_features(self, pictures: Sequence[Picture]) -> list[torch.Tensor]:
        """Features [positions of the picture, hidden_size] of each picture."""

    def positions(self, ids: np.ndarray, pictures: Sequence[Picture]) -> np.ndarray:
        """Positions int64 [position_axes, length] of a sequence with these pictures, in their order.

        Those of a beginning depend on nothing behind it.
        """

    def rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines [length, head width] of positions int64 [position_axes, length]."""


# A module for each family, with its inputs and its model. How to add one is told in docs/families.md.
FAMILIES = {
    "llava": ("ards_ray.models.llava", "LlavaInputs", "LlavaModel"),
    "llava_next": ("ards_ray.models.llava_next", "LlavaNextInputs", "LlavaNextModel"),
    "qwen2_5_vl": ("ards_ray.models.qwen2_5_vl", "QwenInputs", "QwenModel"),
}


def checkpoint_config(folder: Path) -> dict:
    """The configuration of a checkpoint.

    Raises:
        SettingsError: the folder is no checkpoint in the Hugging Face format.
    """
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text())
    except FileNotFoundError as error:
        if (folder / ADAPTER_CONFIG).is_file():
            raise SettingsError(
                f"{folder}: a PEFT adapter, not a model; give it with --set proxy.adapter (evaluate: --adapter), and "
                "as the model the checkpoint that it was trained on"
            ) from error
        raise SettingsError(f"{folder}: no config.json here; it must be a checkpoint folder") from error
    except ValueError as error:
        raise SettingsError(f"{file}: not valid JSON ({error})") from error
    if not isinstance(config, dict):
        raise SettingsError(f"{file}: not a model configuration")
    return config


def _family_of(folder: Path) -> tuple[Any, Any]:
    """The inputs' and the model's class for a checkpoint."""
    config = checkpoint_config(folder)
    name = config.get("model_type")
    if name in ("llava_llama", "llava_mistral") or (name == "llava" and "text_config" not in config):
        raise SettingsError(
            f"{folder}: a checkpoint in the original LLaVA form; convert it first: "
            f"ards-ray convert-checkpoint {folder} OUTPUT"
        )
    if name not in FAMILIES:
        raise SettingsError(f"{folder}: unknown model family {name!r}; known are {', '.join(FAMILIES)}")
    check_leftovers(folder)
    # Imported late: the library's code of one family is enough.
    module, inputs, model = FAMILIES[name]
    return getattr(import_module(module), inputs), getattr(import_module(module), model)


def load_inputs(folder: Path) -> ProxyInputs:
    """The text and picture side of the checkpoint's family.

    Raises:
        SettingsError: the family is unknown, the tokenizer is missing, or its prompts cannot be made.
    """
    return _family_of(folder)[0](folder)


def load_model(folder: Path, settings: ProxySettings) -> ProxyModel:
    """The weights, on the settings' device and in their dtype, neither of which may be `auto` here.

    Raises:
        SettingsError: the family is unknown, or the weights cannot be loaded.
    """
    # Before the weights are read: what is wrong with configuration, tokenizer or chat template.
    inputs = load_inputs(folder)
    model: ProxyModel = _family_of(folder)[1](folder, settings)
    model.vocabulary = inputs.vocabulary
    return model
