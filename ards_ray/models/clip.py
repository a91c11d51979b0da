"""The vision side of the LLaVA families: CLIP up to the layer whose features are used, and the projector."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ards_ray.errors import ConversationError, SettingsError

# Padded to a square, the picture takes 1.2 GB.
LONGEST_SIDE = 20_000
PAD_COLOUR = (122, 116, 104)
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def check_vision(config: Any, folder: Path) -> None:
    """Refuse a vision side that this module does not know.

    Raises:
        SettingsError: names what is unknown.
    """
    if config.vision_config.model_type != "clip_vision_model":
        raise SettingsError(f"{folder}: unknown vision tower {config.vision_config.model_type!r}; known is CLIP")
    if not isinstance(config.vision_feature_layer, int):
        raise SettingsError(f"{folder}: features of several vision layers; known is one")


def tile_positions(config: Any) -> int:
    """Positions that one tile takes in the sequence."""
    patches: int = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    return patches + (config.vision_feature_select_strategy == "full")


def padded_square(image: Image.Image, size: int) -> np.ndarray:
    """Pad to a centred square and resize, in Pillow: other backends interpolate differently. uint8 [size, size, 3].

    Raises:
        ConversationError: the square would be too large.
    """
    side = max(image.size)
    if side > LONGEST_SIDE:
        raise ConversationError("image is too large", f"{image.width} by {image.height}, to be padded to a square")
    square = Image.new("RGB", (side, side), PAD_COLOUR)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


class Normaliser:
    """Pixels to what the vision tower takes, on the device."""

    def __init__(self, device: torch.device, dtype: torch.dtype):
        self._device = device
        self._dtype = dtype
        self._mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(STD, device=device).view(1, 3, 1, 1)

    def __call__(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 [images, height, width, 3] to [images, 3, height, width]."""
        # Copied: what comes from another process is read-only.
        scaled = torch.tensor(pixels, device=self._device).permute(0, 3, 1, 2).float() / 255
        return ((scaled - self._mean) / self._std).to(self._dtype)


class ClipTower:
    """The vision tower and the projector of the library's LLaVA model, whose unused vision layers are cut off."""

    # Tiles that go through together.
    BATCH = 32

    def __init__(self, model: Any):
        config = model.config
        encoder = model.vision_tower.encoder
        # Layer 0 is what goes into the first, so that there is one more than there are layers.
        used = range(len(encoder.layers) + 1)[config.vision_feature_layer]
        encoder.layers = encoder.layers[:used]
        self._tower = model.vision_tower
        self._projector = model.multi_modal_projector
        self._first = 0 if config.vision_feature_select_strategy == "full" else 1
        weight = self._projector.linear_1.weight
        self._normalise = Normaliser(weight.device, weight.dtype)

    def __call__(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 [tiles, height, width, 3] to features [tiles, positions, width of the text model]."""
        parts = []
        for start in range(0, len(pixels), self.BATCH):
            states = self._tower(self._normalise(pixels[start : start + self.BATCH])).last_hidden_state
            parts.append(self._projector(states[:, self._first :]))
        return torch.cat(parts)
