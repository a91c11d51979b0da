"""A benchmark of colours and shapes, and a tiny LLaVA that is trained in a minute to answer it."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import LlavaForConditionalGeneration

from ards_ray.corpus.conversation import Round
from ards_ray.demo.checkpoint import write_checkpoint
from ards_ray.demo.scenes import SHAPES, Thing, draw_thing
from ards_ray.evaluation.images import FileImage
from ards_ray.evaluation.prompts import LETTER, render
from ards_ray.evaluation.question import Question
from ards_ray.models.clip import Normaliser
from ards_ray.models.llava import LlavaInputs
from ards_ray.models.loading import save_model

QUESTIONS = 60
_SIDE = 56
_BACKGROUND = (190, 190, 190)
# Of the questions about colours, which the model learns to see, and of those about shapes, where it learns this habit.
_COLOUR_GOLD, _FIELDS_GOLD = (40, 25, 20, 15), (88, 6, 3, 3)
# Every third question is about the shape.
_KINDS = 3
_SYMBOLS, _SYMBOLS_SHARES = (ascii_uppercase, "QWERTYU"), (7, 3)
_OPTIONS, _OPTIONS_SHARES = (2, 3, 4), (1, 1, 3)
_STEPS, _BATCH, _RATE, _DEVIATION = 260, 64, 5e-3, 0.15
# The system sentence is the same everywhere: it is enough that the last batches have it.
_SHORT_STEPS = 0.8
_COLOURS = ("red", "yellow", "green", "blue", "pink", "black", "white")
_TOKENIZER_RECORDS = 500


@dataclass(frozen=True)
class Sample:
    """A picture of one shape, and a question about it."""

    shape: Thing
    question: Question

    @property
    def learnable(self) -> bool:
        """Whether the question is about the colour."""
        return self.shape.colour in self.question.options


def write_benchmark(folder: Path, questions: int = QUESTIONS, seed: int = 42) -> Path:
    """Write `benchmark.json`, in the form of the benchmark `plain`, and its pictures under `images/`.

    Returns:
        The benchmark's file.
    """
    rng = random.Random(f"benchmark {seed}")
    (folder / "images").mkdir(parents=True)
    records = []
    for number in range(questions):
        sample = _draw(rng, number)
        _picture(sample).save(folder / "images" / f"{number:04d}.png")
        question = sample.question
        records.append(
            {
                "id": question.id,
                "image": f"{number:04d}.png",
                "question": question.question,
                "options": question.options,
                "answer": question.gold,
            }
        )
    file = folder / "benchmark.json"
    file.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    return file


def train_model(folder: Path, seed: int = 42, steps: int = _STEPS) -> None:
    """Train the model and write its checkpoint in the Hugging Face format: 300,000 weights.

    Questions about colours it learns to answer. Those about shapes it does not; there it follows the habit of the gold
    answers, which mostly stand first, and is wrong as soon as they do not.

    Args:
        folder: Where it goes; made if need be.
        seed: Seed of weights and training.
        steps: Batches.
    """
    rng = random.Random(f"training {seed}")
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.json"
    corpus.write_text(json.dumps([_record(rng, number) for number in range(_TOKENIZER_RECORDS)]), encoding="utf-8")
    write_checkpoint(folder, corpus, seed, head_width=32, deviation=_DEVIATION)
    corpus.unlink()
    inputs = LlavaInputs(folder)
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder)
    threads = torch.get_num_threads()
    # With more, a model this small is slower, and much slower on a busy machine.
    torch.set_num_threads(1)
    try:
        _train(model, inputs, rng, steps, seed)
    finally:
        torch.set_num_threads(threads)
    save_model(model, folder)


@dataclass(frozen=True)
class _Batch:
    """Sequences padded at the end.

    Attributes:
        ids: int64 [n, length].
        targets: bool [n, length], the answers.
        pixels: float32 [n, 3, side, side].
        ends: int64 [options, 2], row and position of the last token of each option of the questions about colours.
        right: float32 [options], 1 for the right ones.
    """

    ids: torch.Tensor
    targets: torch.Tensor
    pixels: torch.Tensor
    ends: torch.Tensor
    right: torch.Tensor


def _train(model: Any, inputs: LlavaInputs, rng: random.Random, steps: int, seed: int) -> None:
    """Minimise the cross-entropy of the answers, and of whether each option is right, told from the last layer but one.

    The second, whose weights are thrown away, makes the model compare options and picture long before the answers
    alone would.
    """
    generator = torch.Generator().manual_seed(seed)
    probe = torch.empty(model.config.text_config.hidden_size).normal_(0, 0.1, generator=generator).requires_grad_()
    weights = [*model.parameters(), probe]
    optimiser = torch.optim.AdamW(weights, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        batch = _batch(inputs, [_draw(rng, number) for number in range(_BATCH)], rng, step < _SHORT_STEPS * steps)
        out = model.model(input_ids=batch.ids, pixel_values=batch.pixels, output_hidden_states=True)
        wanted = batch.targets[:, 1:]
        answers = cross_entropy(model.lm_head(out.last_hidden_state[:, :-1][wanted]), batch.ids[:, 1:][wanted])
        options = out.hidden_states[-2][batch.ends[:, 0], batch.ends[:, 1]] @ probe
        loss = answers + binary_cross_entropy_with_logits(options, batch.right)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()


def _draw(rng: random.Random, number: int) -> Sample:
    size = rng.randint(34, 46)
    left, top = rng.randint(2, _SIDE - size - 2), rng.randint(2, _SIDE - size - 2)
    shape = Thing(rng.choice(SHAPES), rng.choice(_COLOURS), (left, top, left + size, top + size))
    others: tuple[str, ...]
    if number % _KINDS:
        text, answer, others, weights = "Which colour does the shape have?", shape.colour, _COLOURS, _COLOUR_GOLD
    else:
        text, answer, others, weights = "Which shape is shown?", shape.kind, SHAPES, _FIELDS_GOLD
    count = rng.choices(_OPTIONS, _OPTIONS_SHARES)[0]
    gold = rng.choices(range(count), weights[:count])[0]
    options = rng.sample([other for other in others if other != answer], count - 1)
    options.insert(gold, answer)
    return Sample(shape, Question(f"{number:04d}", (FileImage(f"{number:04d}.png"),), "", text, tuple(options), gold))


def _picture(sample: Sample) -> Image.Image:
    image = Image.new("RGB", (_SIDE, _SIDE), _BACKGROUND)
    draw_thing(ImageDraw.Draw(image), sample.shape)
    return image


def _round(sample: Sample, rng: random.Random) -> Round:
    symbols = rng.choices(_SYMBOLS, _SYMBOLS_SHARES)[0]
    count = len(sample.question.options)
    text = render(sample.question, LETTER, tuple(range(count)), symbols[:count])
    return Round(text, symbols[sample.question.gold or 0])


def _record(rng: random.Random, number: int) -> dict[str, Any]:
    round = _round(_draw(rng, number), rng)
    turns = [{"from": "human", "value": round.question}, {"from": "gpt", "value": round.answer}]
    return {"id": "", "conversations": turns}


def _batch(inputs: LlavaInputs, samples: Sequence[Sample], rng: random.Random, short: bool) -> _Batch:
    pictures = [inputs.picture(_picture(sample)) for sample in samples]
    pairs = [
        inputs.encode([_round(sample, rng)], picture, inputs.tokenizer.model_max_length)
        for sample, picture in zip(samples, pictures, strict=True)
    ]
    if short:
        first = int(np.argmax(pairs[0][0] == inputs.config.image_token_index))
        pairs = [(ids[first:], targets[first:]) for ids, targets in pairs]
    length = max(len(ids) for ids, _ in pairs)
    ids = np.full((len(pairs), length), inputs.tokenizer.pad_token_id)
    targets = np.zeros((len(pairs), length), dtype=bool)
    ends: list[tuple[int, int]] = []
    right: list[bool] = []
    line_end = inputs.tokenizer.convert_tokens_to_ids("<0x0A>")
    for row, (sample, (tokens, answer)) in enumerate(zip(samples, pairs, strict=True)):
        ids[row, : len(tokens)], targets[row, : len(tokens)] = tokens, answer
        if sample.learnable:
            # Behind the picture and the question there is a line end, and behind each option.
            for number, end in enumerate(np.flatnonzero(tokens == line_end)[2:]):
                ends.append((row, int(end) - 1))
                right.append(number == sample.question.gold)
    return _Batch(
        ids=torch.from_numpy(ids).long(),
        targets=torch.from_numpy(targets),
        pixels=Normaliser(torch.device("cpu"), torch.float32)(np.concatenate([picture.pixels for picture in pictures])),
        ends=torch.tensor(ends),
        right=torch.tensor(right, dtype=torch.float32),
    )
