import json
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, LlavaForConditionalGeneration

from ards_ray.demo.checkpoint import write_checkpoint
from ards_ray.demo.corpus import write_corpus

Family = Literal["llama", "mistral"]
FAMILIES: tuple[Family, ...] = get_args(Family)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("demo"))[0]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    name: Family = request.param
    return name


@pytest.fixture(scope="module")
def folder(family: Family, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(family) / "checkpoint"
    write_checkpoint(path, corpus, text_model=family)
    return path


def _turns(corpus: Path) -> list[str]:
    return [turn["value"] for record in json.loads(corpus.read_text("utf-8")) for turn in record["conversations"]]


def _pixels(image: Image.Image, size: int) -> torch.Tensor:
    array = np.asarray(image.convert("RGB").resize((size, size)), dtype=np.float32)
    return torch.from_numpy(array / 127.5 - 1).permute(2, 0, 1)[None]


def _target_loss(model: Any, prompt: list[int], answer: list[int], pixels: torch.Tensor) -> float:
    """Mean cross-entropy of an answer, over the text tokens alone."""
    ids = torch.tensor([prompt + answer])
    with torch.no_grad():
        logits = model(input_ids=ids, pixel_values=pixels).logits
    assert torch.isfinite(logits).all()
    logits = logits[0, len(prompt) - 1 : -1, : model.config.image_token_index]
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(answer)))


def test_the_library_loads_every_weight(folder: Path, family: Family) -> None:
    """Weights that do not match are replaced by unseeded ones, and every run of the trial gives other numbers."""
    loaded: Any = LlavaForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    model, report = loaded
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.text_config.model_type == family
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    heads = model.config.text_config.num_key_value_heads
    assert heads == (2 if family == "mistral" else 4)


def test_special_tokens_have_their_places(folder: Path) -> None:
    """The picture's positions would not be found, or extra vocabulary rows would enter the softmax."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder)
    image = model.config.image_token_index
    assert tokenizer.convert_tokens_to_ids(["<unk>", "<s>", "</s>"]) == [0, 1, 2]
    assert tokenizer.encode("<image>", add_special_tokens=False) == [image]
    assert (image, tokenizer.pad_token_id) == (len(tokenizer) - 2, len(tokenizer) - 1)
    rows = model.get_input_embeddings().weight.shape[0]
    assert rows % 64 == 0
    assert 0 <= rows - len(tokenizer) < 64
    assert tokenizer.encode("Yes</s>")[0] == 1
    assert tokenizer.encode("Yes</s>")[-1] == 2


def test_the_tokenizer_gives_every_text_back(folder: Path, corpus: Path) -> None:
    """Texts would lose characters on their way into the model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [text.replace("<image>", "").strip() for text in _turns(corpus)]
    for text in [*texts, "naïve 漢字 🙂", "two  spaces\n\n\tand a tab"]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text
        assert tokenizer.unk_token_id not in ids
    # Words of the corpus are pieces of their own, letters of other scripts are bytes.
    assert tokenizer.tokenize("picture") == ["▁picture"]
    assert tokenizer.tokenize("字") == ["▁", "<0xE5>", "<0xAD>", "<0x97>"]
    assert tokenizer.tokenize("a\nb") == ["▁a", "<0x0A>", "b"]


def test_losses_depend_on_the_text_and_on_the_picture(folder: Path, corpus: Path) -> None:
    """With equal losses, or a picture that the model does not see, no attack would have an effect in the trial."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder)
    size = model.config.vision_config.image_size
    patches = (size // model.config.vision_config.patch_size) ** 2
    assert patches == model.config.image_seq_length == 16
    losses, gaps = [], []
    records = json.loads(corpus.read_text("utf-8"))
    for record in [record for record in records if "image" in record][:20]:
        question, answer = (turn["value"] for turn in record["conversations"][:2])
        prompt = tokenizer.encode("USER: " + question.replace("<image>", "<image>" * patches) + " ASSISTANT:")
        target = tokenizer.encode(answer + "</s>", add_special_tokens=False)
        with Image.open(corpus.parent / "images" / record["image"]) as image:
            losses.append(_target_loss(model, prompt, target, _pixels(image, size)))
        noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        gaps.append(abs(losses[-1] - _target_loss(model, prompt, target, _pixels(Image.fromarray(noise), size))))
    assert np.std(losses) > 0.1
    assert np.mean(gaps) > 0.02


def test_the_seed_decides_every_byte(folder: Path, family: Family, corpus: Path, tmp_path: Path) -> None:
    """A trial that is repeated would give other losses, and so another mixture."""
    write_checkpoint(tmp_path / "same", corpus, text_model=family)
    write_checkpoint(tmp_path / "other", corpus, seed=43, text_model=family)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for name in names:
        assert (tmp_path / "same" / name).read_bytes() == (folder / name).read_bytes(), name
    weights = "model.safetensors"
    assert (tmp_path / "other" / weights).read_bytes() != (folder / weights).read_bytes()


def test_the_callers_random_numbers_go_on(corpus: Path, tmp_path: Path) -> None:
    """A program that writes a checkpoint in between would lose its own reproducibility."""
    before = torch.get_rng_state()
    write_checkpoint(tmp_path, corpus)
    assert torch.equal(torch.get_rng_state(), before)
