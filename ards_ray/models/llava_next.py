"""LLaVA-NeXT (v1.6): several tiles for a picture, as its shape wants."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape, unpad_image

from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import Round
from ards_ray.errors import ConversationError, SettingsError
from ards_ray.models.clip import LONGEST_SIDE, tile_positions
from ards_ray.models.forms import MISTRAL_INSTRUCT, V1, Prompts
from ards_ray.models.llava import LlavaWeights, llava_vocabulary, load_llava_config
from ards_ray.models.loading import load_weights
from ards_ray.models.sequence import Picture
from ards_ray.models.tokenizer import load_tokenizer


def _load_config(folder: Path) -> Any:
    config = load_llava_config(LlavaNextConfig, folder)
    if config.vision_feature_select_strategy != "default":
        raise SettingsError(f"{folder}: vision_feature_select_strategy is not default; tiles have no class position")
    return config


class LlavaNextInputs:
    """Tokens, targets and pixels of LLaVA-NeXT."""

    upright = False

    def __init__(self, folder: Path):
        self.config = _load_config(folder)
        self.tokenizer = load_tokenizer(folder)
        self.hidden_size = self.config.text_config.hidden_size
        self.image_token = self.config.image_token_index
        own = MISTRAL_INSTRUCT if self.config.text_config.model_type == "mistral" else V1
        self._prompts = Prompts(folder, "llava_next", self.tokenizer, self.image_token, own)
        self.vocabulary = llava_vocabulary(self.config, self.tokenizer, self._prompts.end)

    def picture(self, image: Image.Image) -> Picture:
        """See `ProxyInputs.picture`. The whole picture squeezed to a tile, then the tiles of an enlarged one.

        As LLaVA's `process_anyres_image`: of the resolutions that the checkpoint knows the best fitting is taken, and
        the picture centred in it on black.
        """
        if max(image.size) > LONGEST_SIDE:
            raise ConversationError("image is too large", f"{image.width} by {image.height}")
        size = self.config.vision_config.image_size
        height, width = select_best_resolution((image.height, image.width), self.config.image_grid_pinpoints)
        scale = min(width / image.width, height / image.height)
        # Rounded up, as LLaVA does, but for the side that fills the frame.
        inner = (min(int(np.ceil(image.width * scale)), width), min(int(np.ceil(image.height * scale)), height))
        frame = Image.new("RGB", (width, height))
        frame.paste(image.resize(inner, Image.Resampling.BICUBIC), ((width - inner[0]) // 2, (height - inner[1]) // 2))
        pixels = np.asarray(frame).reshape(height // size, size, width // size, size, 3).swapaxes(1, 2)
        whole = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
        tiles = np.concatenate([whole[None], pixels.reshape(-1, size, size, 3)])
        return Picture(np.ascontiguousarray(tiles), (image.height, image.width))

    def positions_of(self, picture: Picture) -> int:
        """Positions that a picture takes: its tile as a whole, the others without their padding, an end to each row."""
        side = self.config.vision_config.image_size // self.config.vision_config.patch_size
        rows, columns = get_anyres_image_grid_shape(
            picture.size, self.config.image_grid_pinpoints, self.config.vision_config.image_size
        )
        _, height, width = unpad_image(torch.empty(1, rows * side, columns * side), picture.size).shape
        return tile_positions(self.config) + height * (width + 1)

    def encode(self, rounds: Sequence[Round], picture: Picture | None, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """See `ProxyInputs.encode`."""
        return self._prompts.encode(rounds, self._image_ids(picture) if picture else (), limit)

    def encode_question(self, question: str, pictures: Sequence[Picture]) -> np.ndarray:
        """See `ProxyInputs.encode_question`."""
        return self._prompts.encode_question(question, [self._image_ids(picture) for picture in pictures])

    def _image_ids(self, picture: Picture) -> list[int]:
        return [self.image_token] * self.positions_of(picture)


class LlavaNextModel(LlavaWeights):
    """The weights of LLaVA-NeXT."""

    def __init__(self, folder: Path, settings: ProxySettings):
        # What is wrong with the configuration is told before the weights are read.
        _load_config(folder)
        super().__init__(load_weights(LlavaNextForConditionalGeneration, folder, settings))

    def image_features(self, pictures: Sequence[Picture]) -> list[torch.Tensor]:
        """See `ProxyModel.image_features`."""
        features = self.tower(np.concatenate([picture.pixels for picture in pictures]))
        tiles = torch.split(features, [len(picture.pixels) for picture in pictures])
        packed, _ = self.model.model.pack_image_features(
            tiles,
            torch.tensor([picture.size for picture in pictures]),
            vision_feature_select_strategy=self.model.config.vision_feature_select_strategy,
            image_newline=self.model.model.image_newline,
        )
        return list(packed)
