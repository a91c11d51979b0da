"""An evaluation written from the definitions: every order asked, one request at a time, by the library's plain passes.

Nothing of the product is used but the template's text, which is written out here as well.
"""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, LlavaForConditionalGeneration

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
INSTRUCTION = "Answer with the option's letter from the given choices directly."


def orders_of(count: int) -> list[tuple[int, ...]]:
    """The given order, its rotations, then every other one."""
    rotations = [tuple((place + shift) % count for place in range(count)) for shift in range(count)]
    return rotations + [order for order in permutations(range(count)) if order not in rotations]


class PlainModel:
    """The library's model and generation, one request at a time."""

    def __init__(self, folder: Path):
        # More are slower for a model this small, and much slower on a busy machine.
        torch.set_num_threads(1)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model: Any = LlavaForConditionalGeneration.from_pretrained(folder).eval()
        self.image = self.model.config.image_token_index
        vision = self.model.config.vision_config
        self.positions = (vision.image_size // vision.patch_size) ** 2

    def answer(self, text: str, image: Image.Image) -> str:
        given = self._given(text, image)
        with torch.no_grad():
            out = self.model.generate(
                **given,
                attention_mask=torch.ones_like(given["input_ids"]),
                max_new_tokens=8,
                do_sample=False,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        return self.tokenizer.decode(out[0, given["input_ids"].shape[1] :], skip_special_tokens=True).strip()

    def logits(self, text: str, image: Image.Image) -> torch.Tensor:
        """float32 [vocabulary] of the first token of the answer."""
        with torch.no_grad():
            return self.model(**self._given(text, image)).logits[0, -1]

    def _given(self, text: str, image: Image.Image) -> dict[str, torch.Tensor]:
        before, after = f"{SYSTEM} USER: <image>\n{text} ASSISTANT:".split("<image>")
        ids = [
            self.tokenizer.bos_token_id,
            *self.tokenizer(before, add_special_tokens=False).input_ids,
            *[self.image] * self.positions,
            *self.tokenizer(after, add_special_tokens=False).input_ids,
        ]
        # The benchmark's pictures are square and of the tower's size: there is nothing to pad or resize.
        pixels = torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32) / 255)
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711])
        values = ((pixels - mean) / std).permute(2, 0, 1)[None]
        return {"input_ids": torch.tensor([ids]), "pixel_values": values}


def outcomes_of(model: PlainModel, record: dict[str, Any], image: Image.Image, symbols: str) -> list[bool]:
    """Whether each order of a question of the plain form is answered right."""
    outcomes = []
    for order in orders_of(len(record["options"])):
        lines = [f"{symbol}. {record['options'][place]}" for symbol, place in zip(symbols, order, strict=False)]
        said = model.answer("\n".join([record["question"], *lines, INSTRUCTION]), image)
        outcomes.append(said == symbols[order.index(record["answer"])])
    return outcomes


def brute_force(model: Path, benchmark: Path, images: Path) -> dict[str, dict[str, list[bool]]]:
    """For each question's id the outcomes of all orders, under letters and under the other symbols."""
    plain = PlainModel(model)
    found = {}
    for record in json.loads(benchmark.read_text()):
        with Image.open(images / record["image"]) as image:
            image.load()
        found[record["id"]] = {
            "letters": outcomes_of(plain, record, image, "ABCD"),
            "others": outcomes_of(plain, record, image, "QWER"),
        }
    return found
