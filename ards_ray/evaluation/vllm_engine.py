"""The vLLM engine: prefix caching serves system sentence, image and question to all orders of a question."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import AutoModelForImageTextToText

from ards_ray.corpus.conversation import IMAGE_TAG
from ards_ray.errors import ConversationError, SettingsError
from ards_ray.evaluation.engine import (
    WIDTH,
    Ask,
    EngineSettings,
    Shown,
    decode_answer,
    encode_all,
    first_tokens,
    tokens_of,
)
from ards_ray.models.checkpoint import SMALL_FILES
from ards_ray.models.family import checkpoint_config, load_inputs
from ards_ray.models.loading import load_weights, save_model

# MMMU's questions have at most seven.
_IMAGES = 8
_USUAL_SIZE, _USUAL_TEXT = (640, 480), 256
# vLLM takes no more; it is enough that such a token never wins.
_NEVER = -100.0


class VllmEngine:
    """The model in vLLM's engine.

    vLLM gets our token ids, and pictures as the family sees them where its own processor then changes nothing.
    """

    def __init__(self, settings: EngineSettings, folder: Path):
        self.inputs = load_inputs(folder)
        self._tokens = tokens_of(self.inputs, folder, settings.answer_tokens)
        self._ranks = settings.score == "letters"
        self._merged: tempfile.TemporaryDirectory[str] | None = None
        if settings.proxy.adapter is not None:
            self._merged = tempfile.TemporaryDirectory(prefix="ards-ray-merged-")
            folder = write_merged(settings, folder, Path(self._merged.name))
        # LLaVA-NeXT's tiles are cut by vLLM's own processor.
        self.takes_images = checkpoint_config(folder)["model_type"] == "llava_next"
        self._llm = _load(settings, folder, self._tokens.limit + self._tokens.answer)
        self.width = self._width()

    def answer(self, asks: Sequence[Ask]) -> list[str | ConversationError]:
        """See `Engine.answer`."""
        encoded = encode_all(self.inputs, self._tokens, asks)
        prompts, params, asked = [], [], []
        for index, (ask, ids) in enumerate(zip(asks, encoded, strict=True)):
            if not isinstance(ids, ConversationError):
                asked.append(index)
                prompts.append(self._prompt(ask, ids))
                params.append(self._sampling(ask))
        outputs = self._llm.generate(prompts, params, use_tqdm=False) if prompts else []
        answers: list[str | ConversationError] = [one if isinstance(one, ConversationError) else "" for one in encoded]
        for index, output in zip(asked, outputs, strict=True):
            answers[index] = self._text(asks[index], list(output.outputs[0].token_ids))
        return answers

    def _prompt(self, ask: Ask, ids: np.ndarray) -> dict[str, Any]:
        """The request with one image token for each picture, which vLLM expands itself."""
        image = ids == self.inputs.image_token
        again = np.concatenate([[False], image[1:] & image[:-1]])
        prompt: dict[str, Any] = {"prompt_token_ids": ids[~again].tolist()}
        if ask.images:
            prompt["multi_modal_data"] = {"image": [self._picture(shown) for shown in ask.images]}
            prompt["multi_modal_uuids"] = {"image": [shown.key for shown in ask.images]}
        return prompt

    def _picture(self, shown: Shown) -> Image.Image:
        return shown.image or Image.fromarray(shown.picture.pixels[0])

    def _width(self) -> int:
        """As many questions as the cache of keys and values holds, with a usual picture and some hundred words each."""
        cache = self._llm.llm_engine.vllm_config.cache_config
        picture = self.inputs.picture(Image.new("RGB", _USUAL_SIZE))
        positions = len(self.inputs.encode_question(IMAGE_TAG, [picture])) + _USUAL_TEXT
        return max(1, min(WIDTH, cache.num_gpu_blocks * cache.block_size // positions))

    def _sampling(self, ask: Ask) -> Any:
        from vllm import SamplingParams

        if self._ranks and ask.symbols:
            allowed = first_tokens(self.inputs, ask.symbols)
            return SamplingParams(temperature=0, max_tokens=1, allowed_token_ids=allowed, detokenize=False)
        rest = range(self.inputs.vocabulary, self.inputs.config.text_config.vocab_size)
        return SamplingParams(
            temperature=0,
            max_tokens=self._tokens.answer,
            stop_token_ids=sorted(self._tokens.ends),
            logit_bias=dict.fromkeys(rest, _NEVER),
            detokenize=False,
        )

    def _text(self, ask: Ask, ids: list[int]) -> str:
        if self._ranks and ask.symbols:
            return ask.symbols[first_tokens(self.inputs, ask.symbols).index(ids[0])]
        return decode_answer(self.inputs, self._tokens, ids)


def _load(settings: EngineSettings, folder: Path, longest: int) -> Any:
    # An engine in a process of its own outlives this one if it is killed, and keeps the GPU.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    try:
        from vllm import LLM
    except ImportError as error:
        raise SettingsError(f"--engine vllm: vLLM cannot be imported ({error}); install 'ards-ray[vllm]'") from error
    try:
        return LLM(
            str(folder),
            dtype=settings.proxy.dtype,
            max_model_len=longest,
            tensor_parallel_size=settings.tensor_parallel,
            enable_prefix_caching=True,
            limit_mm_per_prompt={"image": _IMAGES},
            # What compiling would gain on a CPU it takes to compile.
            enforce_eager=settings.proxy.device == "cpu",
            disable_log_stats=True,
            seed=0,
        )
    except Exception as error:
        # Of the libraries behind it each raises its own.
        raise SettingsError(f"{folder}: vLLM cannot load the model ({type(error).__name__}: {error})") from error


def write_merged(settings: EngineSettings, folder: Path, target: Path) -> Path:
    """A checkpoint with the adapter merged: vLLM's own adapters reach the text model alone."""
    # Not through the family, which cuts off what it does not need of the vision tower.
    model = load_weights(AutoModelForImageTextToText, folder, replace(settings.proxy, device="cpu"))
    save_model(model, target)
    for pattern in SMALL_FILES:
        for file in folder.glob(pattern):
            if not (target / file.name).exists() and "index" not in file.name:
                shutil.copy(file, target)
    return target
