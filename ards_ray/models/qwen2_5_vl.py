"""Qwen2.5-VL: pictures of any size as a grid of patches, positions in time, height and width."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2_5_VLConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import Round
from ards_ray.errors import ConversationError, SettingsError
from ards_ray.models.clip import Normaliser
from ards_ray.models.decoder import window_of
from ards_ray.models.forms import QWEN_1_5, Prompts
from ards_ray.models.loading import load_config, load_weights, use_varlen
from ards_ray.models.sequence import Picture
from ards_ray.models.tokenizer import load_tokenizer

VISION = ("<|vision_start|>", "<|vision_end|>")
OWN_FORM = replace(QWEN_1_5, picture=VISION, tokens=(*QWEN_1_5.tokens, *VISION))
# A picture in 4 to 1,280 positions: what the library takes by default. Checkpoints allow many more, which would leave
# no room for a text in 2,048.
SMALLEST_POSITIONS, LARGEST_POSITIONS = 4, 1280


def _load_config(folder: Path) -> Any:
    config = load_config(Qwen2_5_VLConfig, folder)
    if config.vision_config.temporal_patch_size != 2:
        raise SettingsError(f"{folder}: temporal_patch_size is {config.vision_config.temporal_patch_size}; known is 2")
    return config


class QwenInputs:
    """Tokens, targets and pixels of Qwen2.5-VL."""

    # Its finetuning code opens pictures by the library's `load_image`.
    upright = True

    def __init__(self, folder: Path):
        self.config = _load_config(folder)
        self.tokenizer = load_tokenizer(folder)
        self.hidden_size = self.config.text_config.hidden_size
        self.image_token = self.config.image_token_id
        # The end of a turn is an added token and a target: all of the tokenizer's ids count, the rounding up does not.
        self.vocabulary = min(len(self.tokenizer), self.config.text_config.vocab_size)
        vision = self.config.vision_config
        self._factor = vision.patch_size * vision.spatial_merge_size
        self._prompts = Prompts(folder, "qwen2_5_vl", self.tokenizer, self.image_token, OWN_FORM)

    def picture(self, image: Image.Image) -> Picture:
        """See `ProxyInputs.picture`. Height and width become multiples of 28, their ratio is nearly kept."""
        area = self._factor**2
        try:
            height, width = smart_resize(
                image.height, image.width, self._factor, SMALLEST_POSITIONS * area, LARGEST_POSITIONS * area
            )
        except ValueError as error:
            raise ConversationError("image is too narrow", f"{image.width} by {image.height}") from error
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
        return Picture(pixels[None], (image.height, image.width))

    def encode(self, rounds: Sequence[Round], picture: Picture | None, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """See `ProxyInputs.encode`."""
        return self._prompts.encode(rounds, self._image_ids(picture) if picture else (), limit)

    def encode_question(self, question: str, pictures: Sequence[Picture]) -> np.ndarray:
        """See `ProxyInputs.encode_question`."""
        return self._prompts.encode_question(question, [self._image_ids(picture) for picture in pictures])

    def _image_ids(self, picture: Picture) -> list[int]:
        return [self.config.image_token_id] * int(_grid(picture, self._factor).prod())


def _grid(picture: Picture, factor: int) -> np.ndarray:
    """Rows and columns of a picture's positions."""
    return np.array(picture.pixels.shape[1:3]) // factor


class QwenModel:
    """The weights of Qwen2.5-VL."""

    position_axes = 3

    def __init__(self, folder: Path, settings: ProxySettings):
        config = _load_config(folder)
        # Imported late: it takes seconds, and processes that prepare tokens and pixels do without.
        from transformers import Qwen2_5_VLForConditionalGeneration

        self.model = load_weights(Qwen2_5_VLForConditionalGeneration, folder, settings)
        self.text = self.model.model.language_model
        self.head = self.model.lm_head
        self.hidden_size: int = config.text_config.hidden_size
        self.vocabulary: int = config.text_config.vocab_size
        self.image_token: int = config.image_token_id
        self.window = window_of(self.text)
        self.varlen = use_varlen(self.text)
        vision = config.vision_config
        self._patch, self._merge = vision.patch_size, vision.spatial_merge_size
        self._normalise = Normaliser(self.head.weight.device, self.head.weight.dtype)

    def image_features(self, pictures: Sequence[Picture]) -> list[torch.Tensor]:
        """See `ProxyModel.image_features`."""
        patches = torch.cat([self._patches(picture) for picture in pictures])
        grid = torch.tensor([(1, *_grid(picture, self._patch)) for picture in pictures], device=patches.device)
        return list(self.model.model.get_image_features(patches, grid).pooler_output)

    def _patches(self, picture: Picture) -> torch.Tensor:
        """Patches [n, 3 · 2 · 14 · 14] in the order of the vision tower: those that are merged stand together.

        A still picture is a film of two equal frames.
        """
        rows, columns = _grid(picture, self._patch * self._merge)
        frame = self._normalise(picture.pixels).reshape(
            3, rows, self._merge, self._patch, columns, self._merge, self._patch
        )
        patches = frame.permute(1, 4, 2, 5, 0, 3, 6)[..., None, :, :].expand(-1, -1, -1, -1, -1, 2, -1, -1)
        return patches.reshape(rows * columns * self._merge**2, -1)

    def positions(self, ids: np.ndarray, pictures: Sequence[Picture]) -> np.ndarray:
        """See `ProxyModel.positions`. A picture's positions share the time at which it stands; the text behind it goes
        on after the longer side of its grid."""
        shown = np.flatnonzero(ids == self.image_token)
        positions = np.tile(np.arange(len(ids)), (3, 1))
        for picture in pictures:
            rows, columns = _grid(picture, self._patch * self._merge).tolist()
            here, shown = shown[: rows * columns], shown[rows * columns :]
            if not len(here):
                break
            first, count = int(here[0]), len(here)
            time = int(positions[0, first])
            places = np.stack(np.divmod(np.arange(rows * columns), columns))[:, :count]
            positions[0, first : first + count] = time
            positions[1:, first : first + count] = time + places
            positions[:, first + count :] += max(rows, columns) - count
        return positions

    def rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `ProxyModel.rotary`."""
        cos, sin = self.text.rotary_emb(self.head.weight[:1], positions[:, None])
        return cos[0], sin[0]
