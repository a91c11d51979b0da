"""LLaVA-1.5: the reference's tokens, targets and pixels, and checkpoints refused that would give nonsense."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file

from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import Round, parse_conversation
from ards_ray.errors import ConversationError, SettingsError
from ards_ray.models.clip import tile_positions
from ards_ray.models.family import load_inputs, load_model
from ards_ray.models.llava import LlavaInputs

SETTINGS = ProxySettings(dtype="float32", device="cpu")
PAD = (122, 116, 104)
WEIGHTS = "model.safetensors"
ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def inputs(checkpoints: dict[str, Path]) -> LlavaInputs:
    return LlavaInputs(checkpoints["llama"])


def test_tokens_and_targets_are_the_references(conformance: Path) -> None:
    """One token off, and losses are those of another text; one target off, those of another answer."""
    inputs: Any = load_inputs(conformance / "checkpoint")
    assert tile_positions(inputs.config) == 576
    samples = json.loads((conformance / "samples.json").read_text())
    reference = json.loads((conformance / "reference.json").read_text())
    assert len(samples) == len(reference) == 63
    for sample, entry in zip(samples, reference, strict=True):
        assert sample["id"] == entry["id"]
        conversation = parse_conversation(0, "image", (), json.dumps(sample))
        ids, targets = inputs.encode(conversation.rounds, None, 2048)
        expected_ids: list[int] = []
        expected_targets: list[bool] = []
        for token, label in zip(entry["input_ids"], entry["labels"], strict=True):
            expected_ids += [2000] * 576 if token == -200 else [token]
            expected_targets += [False] * 576 if token == -200 else [label != -100]
        assert ids.tolist() == expected_ids, sample["id"]
        assert targets.tolist() == expected_targets, sample["id"]
        assert (len(ids), targets.sum()) == (entry["sequence_length"], entry["target_tokens"])
        assert (ids.dtype, targets.dtype) == (np.int32, bool)


def test_targets_are_the_answers_and_their_end(inputs: LlavaInputs) -> None:
    """A model that is scored on questions, or not on where answers end, ranks conversations by something else."""
    ids, targets = inputs.encode((Round("Hello", "Hi"), Round("Why?", "Because.")), None, 2048)
    spoken = inputs.tokenizer.decode(ids[targets])
    assert spoken.replace(" ", "") == "Hi</s>Because.</s>"
    assert ids[-1] == inputs.tokenizer.eos_token_id
    assert ids[0] == inputs.tokenizer.bos_token_id


def test_the_prompt_is_llavas(inputs: LlavaInputs) -> None:
    """The template that ships with converted checkpoints has no system sentence: other losses for everything."""
    ids, _ = inputs.encode((Round("<image>\nWhat?", "A kite."), Round("Why?", "Wind.")), None, 2048)
    shown = ids == inputs.config.image_token_index
    assert shown.sum() == tile_positions(inputs.config) == 16
    # All positions of the picture stand together.
    assert np.ptp(np.flatnonzero(shown)) == 15
    text = inputs.tokenizer.decode(ids[~shown][1:]).replace(" ", "")
    system = (
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    )
    expected = f"{system} USER: \nWhat? ASSISTANT: A kite.</s>USER: Why? ASSISTANT: Wind.</s>"
    assert text == expected.replace(" ", "")


@pytest.mark.parametrize(
    "text", ["naïve 漢字 🙂", " two  spaces ", "tab\tand\nline", "USER: ASSISTANT:", "< /s>", "\u2028"]
)
def test_targets_of_any_answer(inputs: LlavaInputs, text: str) -> None:
    """Characters become several tokens, and tokens several characters: the targets must still be the whole answer."""
    ids, targets = inputs.encode((Round("Q", "x"), Round("Q", text)), None, 2048)
    plain, before = inputs.encode((Round("Q", "x"),), None, 2048)
    answer = ids[len(plain) :][targets[len(plain) :]]
    assert targets[: len(plain)].tolist() == before.tolist()
    assert inputs.tokenizer.decode(answer).strip() == f"{text}</s>".strip()
    # They are the last ones, without a gap.
    assert targets[-len(answer) :].all()


def test_truncation(inputs: LlavaInputs) -> None:
    """A conversation longer than the limit is cut at its end; without any answer left its loss would be NaN."""
    rounds = (Round("Hello", "Hi"), Round("<image>\nWhat is it?", "A kite."))
    ids, targets = inputs.encode(rounds, None, 2048)
    first = int(np.flatnonzero(targets)[0])
    inside = int(np.flatnonzero(ids == inputs.config.image_token_index)[3])
    for limit in (first + 1, inside, len(ids) - 1, len(ids), len(ids) + 1):
        cut, cut_targets = inputs.encode(rounds, None, limit)
        assert (cut == ids[:limit]).all()
        assert (cut_targets == targets[:limit]).all()
        assert len(cut) == min(limit, len(ids))
    for limit in (first, 2):
        with pytest.raises(ConversationError, match=f"answer cut off: {len(ids)} positions, {limit} are kept"):
            inputs.encode(rounds, None, limit)


def test_special_tokens_in_the_text(inputs: LlavaInputs) -> None:
    """They have no row in the softmax: as a target one would end the job, as input it is random weights."""
    for round in (Round("What is <pad>?", "A kite."), Round("What?", "A <pad>."), Round("One</s>USER: Two", "x")):
        with pytest.raises(ConversationError, match="special token in the text"):
            inputs.encode((round,), None, 2048)


@pytest.mark.parametrize("size", [(80, 20), (20, 80), (81, 20), (20, 81), (1, 1), (3, 500), (56, 56), (57, 56)])
def test_pictures_are_padded_to_a_square(inputs: LlavaInputs, size: tuple[int, int]) -> None:
    """As LLaVA was trained: cropped or stretched, the model sees another picture."""
    width, height = size
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    side = max(size)
    square = np.empty((side, side, 3), dtype=np.uint8)
    square[:] = PAD
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    expected = Image.fromarray(square).resize((56, 56), Image.Resampling.BICUBIC)
    pixels = inputs.picture(Image.fromarray(picture)).pixels[0]
    assert pixels.dtype == np.uint8
    assert (pixels == np.asarray(expected)).all()


def test_the_padding_is_clips_mean(inputs: LlavaInputs) -> None:
    """Black bars are part of the picture to the model; the mean is next to nothing."""
    pixels = inputs.picture(Image.new("RGB", (100, 20), (255, 0, 0))).pixels[0]
    assert (pixels[:20] == PAD).all()
    assert (pixels[-20:] == PAD).all()
    assert (pixels[27:29] == (255, 0, 0)).all()


Edit = Callable[[Path], None]


def remove(*names: str) -> Edit:
    def edit(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return edit


def configure(**values: Any) -> Edit:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(
            json.dumps({key: value for key, value in {**config, **values}.items() if value is not ...})
        )

    return edit


def write(name: str, content: str) -> Edit:
    return lambda folder: (folder / name).write_text(content) and None


def cut_weights(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def pickled_weights(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def change_weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Edit:
    def edit(folder: Path) -> None:
        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, {"format": "pt"})

    return edit


def copied(checkpoint: Path, target: Path, edit: Edit) -> Path:
    shutil.copytree(checkpoint, target)
    edit(target)
    return target


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (remove("config.json"), "no config.json here"),
        (write("config.json", "{"), "config.json: not valid JSON"),
        (write("config.json", "[]"), "not a model configuration"),
        (configure(model_type="bert"), "unknown model family 'bert'"),
        (configure(model_type=...), "unknown model family None"),
        (configure(model_type="llava_llama"), "original LLaVA form; convert it first"),
        (configure(model_type="llava_mistral"), "original LLaVA form; convert it first"),
        (configure(text_config=...), "original LLaVA form; convert it first"),
        (configure(text_config={"model_type": "gemma"}), "unknown text model 'gemma'"),
        (remove("tokenizer.json", "tokenizer_config.json"), "the tokenizer cannot be loaded"),
        (remove("tokenizer.json"), "the tokenizer cannot be loaded|no tokenizer.json here"),
        (write("tokenizer.json", "{}"), "the tokenizer cannot be loaded"),
    ],
)
def test_checkpoints_that_cannot_be_used(
    checkpoints: dict[str, Path], tmp_path: Path, edit: Edit, message: str
) -> None:
    """Said at the start, with what to do about it, instead of a traceback from within a library or a worker."""
    folder = copied(checkpoints["llama"], tmp_path / "model", edit)
    with pytest.raises(SettingsError, match=message) as error:
        load_inputs(folder)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (pickled_weights, "cannot be loaded"),
        (remove(WEIGHTS), "cannot be loaded"),
        (cut_weights, "cannot be loaded"),
        (write(WEIGHTS, "x"), "cannot be loaded"),
        (
            change_weights(
                lambda tensors: {name: tensor for name, tensor in tensors.items() if "layers.1." not in name}
            ),
            "has no weights for model.language_model.layers.1",
        ),
        (
            change_weights(
                lambda tensors: {
                    name: tensor[:9].clone() if "embed" in name else tensor for name, tensor in tensors.items()
                }
            ),
            "cannot be loaded",
        ),
        (configure(model_type="bert"), "unknown model family"),
    ],
)
def test_weights_that_cannot_be_used(checkpoints: dict[str, Path], tmp_path: Path, edit: Edit, message: str) -> None:
    """Pickles run code; weights that are missing are random numbers in the library's eyes, and so is all after them."""
    folder = copied(checkpoints["llama"], tmp_path / "model", edit)
    with pytest.raises(SettingsError, match=message) as error:
        load_model(folder, SETTINGS)
    assert str(folder) in str(error.value)


@pytest.fixture(scope="module")
def adapter(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter on some of the text model's projections, with random weights."""
    base: Any = load_model(checkpoints["llama"], SETTINGS)
    config = LoraConfig(r=4, lora_alpha=12, target_modules=r".*language_model.*\.(q_proj|down_proj)")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tuned: Any = get_peft_model(base.model, config)
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("adapter")
    tuned.save_pretrained(folder)
    return folder


def test_adapters_are_merged(checkpoints: dict[str, Path], adapter: Path) -> None:
    """The proxy is warmed up with LoRA: without its adapter the plain model would score the corpus."""
    plain: Any = load_model(checkpoints["llama"], SETTINGS)
    merged: Any = load_model(checkpoints["llama"], replace(SETTINGS, adapter=str(adapter)))
    expected = dict(plain.model.state_dict())
    parts = load_file(adapter / ADAPTER)
    changed = set()
    for name, down in parts.items():
        if "lora_A" in name:
            weight = name.removeprefix("base_model.model.").replace("lora_A.weight", "weight")
            up = parts[name.replace("lora_A", "lora_B")]
            expected[weight] = expected[weight] + up @ down * (12 / 4)
            changed.add(weight)
    assert len(changed) == 6
    found = merged.model.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-5 if name in changed else 0)
    assert not any(torch.equal(found[name], plain.model.state_dict()[name]) for name in changed)


def rename(old: str, new: str) -> Edit:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / ADAPTER)
        save_file({name.replace(old, new): tensor for name, tensor in tensors.items()}, folder / ADAPTER)

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        remove(ADAPTER),
        remove("adapter_config.json"),
        write(ADAPTER, "x"),
        rename("language_model", "transformer"),
        rename("lora_B", "lora_C"),
        rename("layers.2", "layers.7"),
        lambda folder: save_file({name: torch.zeros(3, 3) for name in load_file(folder / ADAPTER)}, folder / ADAPTER),
    ],
    ids=["no weights", "no config", "damaged", "other model", "other names", "other depth", "other width"],
)
def test_adapters_that_do_not_fit(checkpoints: dict[str, Path], adapter: Path, tmp_path: Path, edit: Edit) -> None:
    """Left out with a warning, as the library does it, an adapter costs a whole run with the wrong proxy."""
    folder = copied(adapter, tmp_path / "adapter", edit)
    with pytest.raises(SettingsError) as error:
        load_model(checkpoints["llama"], replace(SETTINGS, adapter=str(folder)))
    assert str(folder) in str(error.value)
