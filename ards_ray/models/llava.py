"""LLaVA-1.5: one picture of a fixed number of positions; Llama, Mistral or Qwen2 as text model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import LlavaConfig

from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import Round
from ards_ray.errors import SettingsError
from ards_ray.models.clip import ClipTower, check_vision, padded_square, tile_positions
from ards_ray.models.decoder import window_of
from ards_ray.models.forms import V1, Prompts
from ards_ray.models.loading import load_config, load_weights, use_varlen
from ards_ray.models.sequence import Picture
from ards_ray.models.tokenizer import load_tokenizer

TEXT_MODELS = ("llama", "mistral", "qwen2")


def load_llava_config(kind: Any, folder: Path) -> Any:
    """The checkpoint's configuration as the library's class `kind`.

    Raises:
        SettingsError: it is not one with CLIP and a known text model.
    """
    config = load_config(kind, folder)
    name = config.text_config.model_type
    if name not in TEXT_MODELS:
        raise SettingsError(f"{folder}: unknown text model {name!r} in LLaVA; known are {', '.join(TEXT_MODELS)}")
    check_vision(config, folder)
    return config


def llava_vocabulary(config: Any, tokenizer: Any, end: int) -> int:
    """How many ids a LLaVA model says.

    Converters append the image token and others to the vocabulary, with random rows for them: they are no part of the
    softmax. Where the image token is one of the language model's own, all of the tokenizer's tokens are.

    Args:
        config: The checkpoint's configuration.
        tokenizer: Its tokenizer.
        end: The id that ends an answer.
    """
    image: int = config.image_token_index
    if image >= tokenizer.vocab_size and end < image:
        return image
    return min(len(tokenizer), config.text_config.vocab_size)


class LlavaInputs:
    """Tokens, targets and pixels of LLaVA-1.5."""

    upright = False

    def __init__(self, folder: Path):
        self.config = load_llava_config(LlavaConfig, folder)
        self.tokenizer = load_tokenizer(folder)
        self.hidden_size = self.config.text_config.hidden_size
        self.image_token = self.config.image_token_index
        self._prompts = Prompts(folder, "llava", self.tokenizer, self.image_token, V1)
        self.vocabulary = llava_vocabulary(self.config, self.tokenizer, self._prompts.end)

    def picture(self, image: Image.Image) -> Picture:
        """See `ProxyInputs.picture`."""
        pixels = padded_square(image, self.config.vision_config.image_size)
        return Picture(pixels[None], (image.height, image.width))

    def encode(self, rounds: Sequence[Round], picture: Picture | None, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """See `ProxyInputs.encode`. Under v1 tokens and targets are those of LLaVA's own code (`preprocess_v1`)."""
        return self._prompts.encode(rounds, self._image_ids(), limit)

    def encode_question(self, question: str, pictures: Sequence[Picture]) -> np.ndarray:
        """See `ProxyInputs.encode_question`."""
        return self._prompts.encode_question(question, [self._image_ids() for _ in pictures])

    def _image_ids(self) -> list[int]:
        return [self.image_token] * tile_positions(self.config)


class LlavaWeights:
    """What LLaVA-1.5 and LLaVA-NeXT have in common: the text model, and positions in one dimension."""

    position_axes = 1

    def __init__(self, model: Any):
        self.model = model
        self.text = model.model.language_model
        self.head = model.lm_head
        config = model.config
        self.hidden_size: int = config.text_config.hidden_size
        self.vocabulary: int = config.image_token_index
        self.image_token: int = config.image_token_index
        self.window = window_of(self.text)
        self.varlen = use_varlen(self.text)
        self.tower = ClipTower(model.model)

    def positions(self, ids: np.ndarray, pictures: Sequence[Picture]) -> np.ndarray:
        """See `ProxyModel.positions`."""
        return np.arange(len(ids))[None]

    def rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `ProxyModel.rotary`."""
        cos, sin = self.text.rotary_emb(self.head.weight[:1], positions)
        return cos[0], sin[0]


class LlavaModel(LlavaWeights):
    """The weights of LLaVA-1.5."""

    def __init__(self, folder: Path, settings: ProxySettings):
        # What is wrong with the configuration is told before the weights are read.
        load_llava_config(LlavaConfig, folder)
        # Imported late: it takes seconds, and processes that prepare tokens and pixels do without.
        from transformers import LlavaForConditionalGeneration

        super().__init__(load_weights(LlavaForConditionalGeneration, folder, settings))

    def image_features(self, pictures: Sequence[Picture]) -> list[torch.Tensor]:
        """See `ProxyModel.image_features`."""
        return list(self.tower(np.concatenate([picture.pixels for picture in pictures])))
