"""LLaVA-1.5: prompt template v1, one picture of a fixed number of positions, Llama or Mistral as text model."""

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
from ards_ray.proxy.clip import ClipTower, check_vision, padded_square, tile_positions
from ards_ray.proxy.loading import load_config, load_tokenizer, load_weights, use_varlen
from ards_ray.proxy.prompt import Prompt, encode_opening, encode_prompt
from ards_ray.proxy.sequence import Picture

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
TEXT_MODELS = ("llama", "mistral")


def load_llava_config(kind: Any, folder: Path) -> Any:
    """The checkpoint's configuration as the library's class `kind`.

    Raises:
        SettingsError: it is not one with CLIP and a Llama or Mistral text model.
    """
    config = load_config(kind, folder)
    name = config.text_config.model_type
    if name not in TEXT_MODELS:
        raise SettingsError(f"{folder}: unknown text model {name!r} in LLaVA; known are {', '.join(TEXT_MODELS)}")
    check_vision(config, folder)
    return config


def vicuna_prompt(rounds: Sequence[Round], end: str) -> Prompt:
    """LLaVA's template v1; an answer's target is its text with the space before it and its end token."""
    prompt = Prompt(SYSTEM + " ")
    for round in rounds:
        prompt.add(f"USER: {round.question} ASSISTANT:")
        prompt.add_answer(f" {round.answer}{end}")
    return prompt


class LlavaInputs:
    """Tokens, targets and pixels of LLaVA-1.5."""

    upright = False

    def __init__(self, folder: Path):
        self.config = load_llava_config(LlavaConfig, folder)
        self.tokenizer = load_tokenizer(folder)
        self.hidden_size = self.config.text_config.hidden_size
        self.image_token = self.vocabulary = self.config.image_token_index

    def picture(self, image: Image.Image) -> Picture:
        """See `ProxyInputs.picture`."""
        pixels = padded_square(image, self.config.vision_config.image_size)
        return Picture(pixels[None], (image.height, image.width))

    def encode(self, rounds: Sequence[Round], picture: Picture | None, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """See `ProxyInputs.encode`. Tokens and targets are those of LLaVA's own preprocessing (`preprocess_v1`)."""
        prompt = vicuna_prompt(rounds, self.tokenizer.eos_token)
        image_token = self.config.image_token_index
        image = [image_token] * tile_positions(self.config)
        return encode_prompt(self.tokenizer, prompt, [self.tokenizer.bos_token_id], image, image_token, limit)

    def encode_question(self, question: str, pictures: Sequence[Picture]) -> np.ndarray:
        """See `ProxyInputs.encode_question`."""
        prompt = vicuna_prompt([Round(question, "")], self.tokenizer.eos_token)
        image_token = self.config.image_token_index
        images = [[image_token] * tile_positions(self.config) for _ in pictures]
        return encode_opening(self.tokenizer, prompt, [self.tokenizer.bos_token_id], images, image_token)


class LlavaWeights:
    """What LLaVA-1.5 and LLaVA-NeXT have in common: the text model, and positions in one dimension."""

    position_axes = 1

    def __init__(self, model: Any):
        self.model = model
        self.text = model.model.language_model
        self.head = model.lm_head
        config = model.config
        self.hidden_size: int = config.text_config.hidden_size
        # Converted checkpoints carry random rows from the image token on; they are no part of the softmax.
        self.vocabulary: int = config.image_token_index
        self.image_token: int = config.image_token_index
        # Mistral has it in its configuration alone; Llama pays no regard to it, even if it is there.
        text = config.text_config
        self.window: int | None = text.sliding_window if text.model_type == "mistral" else None
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
