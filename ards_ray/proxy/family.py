"""What a model family must do to be a proxy, and how a checkpoint finds its family."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import Round
from ards_ray.errors import SettingsError


class ProxyInputs(Protocol):
    """The side of a family that runs on CPUs: text to tokens, pictures to pixels. No weights."""

    hidden_size: int

    def encode(self, rounds: Sequence[Round], limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids int32 [positions], the image expanded, and targets bool [positions], cut after `limit`.

        Raises:
            ConversationError: no target token is left.
        """

    def pixels(self, image: Image.Image) -> np.ndarray:
        """The picture as the vision tower takes it, before normalisation: uint8 [height, width, 3]."""


class ProxyModel(Protocol):
    """The side of a family that holds the weights."""

    hidden_size: int
    image_positions: int
    vocabulary: int
    head: torch.nn.Linear

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [images, height, width, 3] to features [images, positions, width of the text model]."""

    def embed(self, ids: torch.Tensor, features: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """int64 [batch, positions] and the features of each sequence's image, if it has one, to embeddings."""

    def last_layer(self, embeddings: torch.Tensor, last: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the text model.

        Args:
            embeddings: [batch, positions, width], padded on the right.
            last: int64 [batch], each sequence's last position.

        Returns:
            Final hidden states [batch, positions, width] and the last layer's attention of the last position,
            averaged over heads, float32 [batch, positions], zero after it.
        """


def checkpoint_config(folder: Path) -> dict:
    """The configuration of a checkpoint.

    Raises:
        SettingsError: the folder is no checkpoint in the Hugging Face format.
    """
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise SettingsError(f"{folder}: no config.json here; proxy.model must be a checkpoint folder") from error
    except ValueError as error:
        raise SettingsError(f"{file}: not valid JSON ({error})") from error
    if not isinstance(config, dict):
        raise SettingsError(f"{file}: not a model configuration")
    return config


def _family_of(folder: Path) -> str:
    config = checkpoint_config(folder)
    name = config.get("model_type")
    if name == "llava" and "text_config" in config:
        return "llava"
    if name in ("llava", "llava_llama", "llava_mistral"):
        raise SettingsError(
            f"{folder}: a checkpoint in the original LLaVA form; convert it first: "
            f"ards-ray convert-checkpoint {folder} OUTPUT"
        )
    raise SettingsError(f"{folder}: unknown model family {name!r}; known are LLaVA-1.5 checkpoints (model_type llava)")


def load_inputs(folder: Path) -> ProxyInputs:
    """The text and picture side of the checkpoint's family.

    Raises:
        SettingsError: the family is unknown, or the tokenizer is missing.
    """
    _family_of(folder)
    from ards_ray.proxy.llava import LlavaInputs

    return LlavaInputs(folder)


def load_model(folder: Path, settings: ProxySettings) -> ProxyModel:
    """The weights, on the settings' device and in their dtype, neither of which may be `auto` here.

    Raises:
        SettingsError: the family is unknown, or the weights cannot be loaded.
    """
    _family_of(folder)
    from ards_ray.proxy.llava import LlavaModel

    return LlavaModel(folder, settings)
