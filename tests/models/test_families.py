"""LLaVA-NeXT and Qwen2.5-VL: their prompts and pictures, and shared scoring beside the library's plain passes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import PINPOINTS, write_llava_next, write_qwen
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import LlavaNextForConditionalGeneration, Qwen2_5_VLForConditionalGeneration
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import Round, parse_conversation
from ards_ray.errors import ConversationError, SettingsError
from ards_ray.models.family import load_inputs, load_model
from ards_ray.models.forms import V1
from ards_ray.models.scoring import score_sequences
from ards_ray.models.sequence import Picture, TokenSequence

SETTINGS = ProxySettings(dtype="float32", device="cpu")
FAMILIES = ("next-mistral", "next-llama", "next-qwen2", "qwen")
# Wide, high, nearly square, tiny; each has another number of positions in every family.
SIZES = ((200, 70), (60, 190), (130, 120), (9, 7))


@pytest.fixture(scope="module")
def folders(
    checkpoints: dict[str, Path], records: list[dict], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("families")
    for name in ("mistral", "llama", "qwen2"):
        write_llava_next(folder / f"next-{name}", checkpoints.get(name, checkpoints["llama"]), name)
    write_qwen(folder / "qwen", [turn["value"] for record in records for turn in record["conversations"]] * 5)
    return {name: folder / name for name in FAMILIES}


def image_of(size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(size[0]).integers(0, 256, (size[1] // 8 + 1, size[0] // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def library_of(folder: Path) -> Any:
    kind: Any = Qwen2_5_VLForConditionalGeneration if folder.name == "qwen" else LlavaNextForConditionalGeneration
    return kind.from_pretrained(folder, attn_implementation="eager").eval()


def library_pixels(folder: Path, image: Image.Image) -> dict[str, torch.Tensor]:
    """What the library's own image processor makes of a picture."""
    if folder.name == "qwen":
        processor: Any = Qwen2VLImageProcessorPil(min_pixels=4 * 28 * 28, max_pixels=1280 * 28 * 28)
    else:
        processor = LlavaNextImageProcessorPil(
            size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, image_grid_pinpoints=PINPOINTS
        )
    return dict(processor(image, return_tensors="pt"))


@dataclass(frozen=True)
class Case:
    """Sequences of a family: two conversations about each picture, one about it with noise, and some without."""

    folder: Path
    sequences: list[TokenSequence]
    images: list[Image.Image]
    pictures: list[Picture]


def case_of(folder: Path, records: list[dict]) -> Case:
    inputs = load_inputs(folder)
    images = [image_of(size) for size in SIZES]
    noise = np.random.default_rng(1).integers(0, 256, (SIZES[0][1], SIZES[0][0], 3), dtype=np.uint8)
    images.append(Image.fromarray(noise))
    pictures = [inputs.picture(image) for image in images]
    sequences = []
    questions = [{"from": "human", "value": "<image>\nWhat is shown in a picture?"}, {"from": "gpt", "value": "Seas."}]
    for record in [*records, {"image": "a.png", "conversations": questions}]:
        rounds = parse_conversation(0, "image", (), json.dumps(record)).rounds
        for image in range(len(images)) if "image" in record else [-1]:
            picture = pictures[image] if image >= 0 else None
            sequences.append(TokenSequence(*inputs.encode(rounds, picture, 2048), image))
    return Case(folder, sequences, images, pictures)


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_are_the_librarys_own(folders: dict[str, Path], records: list[dict], name: str) -> None:
    """Tiles, grids, positions in three dimensions, shared beginnings: none of it may show in a loss or a vector."""
    case = case_of(folders[name], records)
    model = load_model(case.folder, SETTINGS)
    library = library_of(case.folder)
    scored = score_sequences(model, case.sequences, case.pictures, [True] * len(case.sequences), True, 16_384)
    assert scored.positions < 0.8 * sum(map(len, case.sequences))
    for sequence, score in zip(case.sequences, scored.scores, strict=True):
        ids = torch.from_numpy(sequence.ids.astype(np.int64))[None]
        shown = library_pixels(case.folder, case.images[sequence.image]) if sequence.image >= 0 else {}
        if name == "qwen":
            shown["mm_token_type_ids"] = (ids == model.image_token).int()
        with torch.no_grad():
            answer = library(input_ids=ids, output_attentions=True, output_hidden_states=True, **shown)
        targets = np.flatnonzero(sequence.targets)
        logits = answer.logits[0, targets - 1, : model.vocabulary].double()
        labels = torch.from_numpy(sequence.ids[targets].astype(np.int64))
        hidden = answer.hidden_states[-1][0].double()
        row = answer.attentions[-1][0].double().mean(dim=0)[-1, :-1]
        halves = hidden[-1], (row / row.sum()) @ hidden[:-1]
        vector = torch.cat([half / half.norm() for half in halves])
        assert score.error is None
        loss = torch.nn.functional.cross_entropy(logits, labels)
        assert score.loss == pytest.approx(float(loss), abs=1e-5 * max(1, float(loss)))
        assert score.correct == bool((logits.argmax(dim=1) == labels).all())
        assert score.vector is not None
        np.testing.assert_allclose(score.vector, vector.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_grouping_does_not_matter(folders: dict[str, Path], records: list[dict], name: str) -> None:
    """A shard's cut must not decide about the mixture."""
    case = case_of(folders[name], records)
    model = load_model(case.folder, SETTINGS)
    wanted = [True] * len(case.sequences)
    together = score_sequences(model, case.sequences, case.pictures, wanted, True, 16_384).scores
    alone = score_sequences(model, case.sequences, case.pictures, wanted, True, 1).scores
    for left, right in zip(together, alone, strict=True):
        assert left.loss == pytest.approx(right.loss, abs=1e-5 * max(1, right.loss))
        np.testing.assert_allclose(left.vector, right.vector, rtol=0, atol=1e-5)


PROMPTS: Sequence[tuple[str, str]] = (
    ("next-mistral", "[INST] Why? [/INST] So. </s>[INST] And? [/INST] Yes. </s>"),
    ("next-llama", V1.system + "USER: Why? ASSISTANT: So.</s>USER: And? ASSISTANT: Yes.</s>"),
    (
        "qwen",
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\nSo.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>",
    ),
)


@pytest.mark.parametrize(("name", "prompt"), PROMPTS)
def test_prompts_are_those_of_the_family(folders: dict[str, Path], name: str, prompt: str) -> None:
    """A model scored with another family's prompt is scored on text that it has never seen."""
    inputs: Any = load_inputs(folders[name])
    ids, targets = inputs.encode((Round("Why?", "So."), Round("And?", "Yes.")), None, 2048)
    decoded = inputs.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert decoded.replace(" ", "") == ("" if name == "qwen" else "<s>") + prompt.replace(" ", "")
    end = "<|im_end|>" if name == "qwen" else "</s>"
    assert inputs.tokenizer.decode(ids[targets]).replace(" ", "") == f"So.{end}Yes.{end}"
    assert targets[-1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["next-mistral", "qwen"])
def test_pixels_are_the_librarys(folders: dict[str, Path], name: str, size: tuple[int, int]) -> None:
    """Another way to cut or to enlarge is another picture."""
    inputs, model = load_inputs(folders[name]), load_model(folders[name], SETTINGS)
    image = image_of(size)
    seen: list[torch.Tensor] = []
    tower: Any = model.model.model.visual if name == "qwen" else model.model.model.vision_tower  # type: ignore[attr-defined]
    hook = tower.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    model.image_features([inputs.picture(image)])
    hook.remove()
    expected = library_pixels(folders[name], image)["pixel_values"].reshape(seen[0].shape)
    assert (seen[0] - expected).abs().max() < 0.02


def test_the_end_of_a_turn_is_in_qwens_vocabulary(folders: dict[str, Path]) -> None:
    """It is an added token and a target: cut off with the padding rows its loss could not be computed."""
    inputs: Any = load_inputs(folders["qwen"])
    model = load_model(folders["qwen"], SETTINGS)
    assert inputs.tokenizer.convert_tokens_to_ids("<|im_end|>") < model.vocabulary == len(inputs.tokenizer)


Broken = Callable[[Any], object]


@pytest.mark.parametrize(
    ("name", "act", "reason"),
    [
        ("qwen", lambda inputs: inputs.encode((Round("<|im_end|>", "x"),), None, 99), "special token in the text"),
        ("qwen", lambda inputs: inputs.encode((Round("x", "<|image_pad|>"),), None, 99), "special token in the text"),
        ("qwen", lambda inputs: inputs.picture(Image.new("RGB", (900, 3))), "image is too narrow"),
        ("qwen", lambda inputs: inputs.encode((Round("x", "y"),), None, 9), "answer cut off"),
        ("next-mistral", lambda inputs: inputs.encode((Round("<pad>", "x"),), None, 99), "special token in the text"),
        ("next-mistral", lambda inputs: inputs.picture(Image.new("RGB", (30_000, 2))), "image is too large"),
    ],
)
def test_what_a_family_cannot_take(folders: dict[str, Path], name: str, act: Broken, reason: str) -> None:
    """Such a conversation becomes a failed row with its reason; anything else would end the job or score nonsense."""
    with pytest.raises(ConversationError, match=reason):
        act(load_inputs(folders[name]))


def test_tiles_with_a_class_position(folders: dict[str, Path], tmp_path: Path) -> None:
    """The library cannot lay them out: every picture would fail, one by one."""
    config = json.loads((folders["next-llama"] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vision_feature_select_strategy": "full"}))
    with pytest.raises(SettingsError, match="vision_feature_select_strategy is not default"):
        load_inputs(tmp_path)


def test_a_tokenizer_without_the_familys_tokens(folders: dict[str, Path], tmp_path: Path) -> None:
    """Found before any work, not in every conversation."""
    config = (folders["qwen"] / "config.json").read_text()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text((folders["next-llama"] / name).read_text())
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(SettingsError, match=r"the tokenizer has no <\|im_start\|>, <\|im_end\|>"):
        load_inputs(tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_adapter_is_merged(folders: dict[str, Path], records: list[dict], name: str, tmp_path: Path) -> None:
    """The proxy of the paper is warmed up with LoRA: left out, another model would choose the mixture."""
    case = case_of(folders[name], records)
    adapted = get_peft_model(
        library_of(case.folder), LoraConfig(target_modules=r".*language_model.*[qv]_proj", init_lora_weights=False)
    )
    adapted.save_pretrained(tmp_path / "adapter")
    library = adapted.merge_and_unload()
    model = load_model(case.folder, replace(SETTINGS, adapter=str(tmp_path / "adapter")))
    text = [sequence for sequence in case.sequences if sequence.image < 0][:1]
    score = score_sequences(model, text, case.pictures, [True], True, 999).scores[0]
    with torch.no_grad():
        logits = library(input_ids=torch.from_numpy(text[0].ids.astype(np.int64))[None]).logits[0]
    targets = np.flatnonzero(text[0].targets)
    labels = torch.from_numpy(text[0].ids[targets].astype(np.int64))
    loss = float(torch.nn.functional.cross_entropy(logits[targets - 1, : model.vocabulary], labels))
    assert score.loss == pytest.approx(loss, abs=1e-5 * max(1, loss))
    plain = score_sequences(load_model(case.folder, SETTINGS), text, case.pictures, [True], True, 999).scores[0]
    assert abs(plain.loss - score.loss) > 1e-3
