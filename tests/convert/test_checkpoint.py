"""Checkpoints in LLaVA's original form: most users hold one, and without the conversion they cannot use it at all."""

import json
import os
import pickle
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaForConditionalGeneration,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

from ards_ray.convert import weights as convert_weights
from ards_ray.convert.checkpoint import convert_checkpoint
from ards_ray.errors import SettingsError

TOWER = "model.vision_tower.vision_tower.vision_model."
WORDS = [
    "USER: What is shown in the picture? ASSISTANT: A small red kite above the sea.",
    "There are 3 boats, I think.",
]
TEXT = "USER: What is that?\nA kite. ASSISTANT: A small kite.</s>USER: é 3"


@dataclass
class Original:
    """A tiny LLaVA put together by hand from its three parts, as the original code does it."""

    language_model: LlamaForCausalLM | MistralForCausalLM
    tower: CLIPVisionModel
    projector: torch.nn.Sequential

    def tensors(self) -> dict[str, torch.Tensor]:
        projector = {f"model.mm_projector.{name}": value for name, value in self.projector.state_dict().items()}
        return self.language_model.state_dict() | projector | tower_tensors(self.tower)

    @torch.no_grad()
    def logits(self, before: list[int], pixels: torch.Tensor, after: list[int]) -> torch.Tensor:
        embed = self.language_model.get_input_embeddings()
        seen = self.tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        parts = [embed(torch.tensor([before])), self.projector(seen), embed(torch.tensor([after]))]
        return self.language_model(inputs_embeds=torch.cat(parts, dim=1)).logits[0]

    def config(self) -> dict[str, Any]:
        text = self.language_model.config.to_dict()
        rope = text.pop("rope_parameters")
        return text | {
            "model_type": "llava_mistral" if text["model_type"] == "mistral" else "llava",
            "architectures": ["LlavaLlamaForCausalLM"],
            "rope_theta": rope["rope_theta"],
            "rope_scaling": None,
            "mm_hidden_size": 32,
            "mm_projector_type": "mlp2x_gelu",
            "mm_vision_select_feature": "patch",
            "mm_vision_select_layer": -2,
            "mm_vision_tower": "openai/clip-vit-large-patch14-336",
            "mm_use_im_start_end": False,
            "image_aspect_ratio": "pad",
        }


def tower_tensors(tower: CLIPVisionModel) -> dict[str, torch.Tensor]:
    return {TOWER + name.removeprefix("vision_model."): value for name, value in tower.state_dict().items()}


def trained_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(WORDS, trainers.BpeTrainer(vocab_size=330, special_tokens=special[:3]))
    vocabulary = {name: index for index, name in enumerate(special)}
    learned = json.loads(tokenizer.to_str())["model"]
    for name in sorted(learned["vocab"], key=learned["vocab"].__getitem__):
        vocabulary.setdefault(name, len(vocabulary))
    merges = [tuple(merge) for merge in learned["merges"]]
    tokenizer.model = models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return trained_tokenizer()


def original_model(rows: int, mistral: bool = False) -> Original:
    torch.manual_seed(0)
    shape = {
        "vocab_size": rows,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "rms_norm_eps": 1e-5,
    }
    shape |= {"num_attention_heads": 4, "max_position_embeddings": 512, "initializer_range": 0.3}
    language_model: LlamaForCausalLM | MistralForCausalLM
    if mistral:
        rope = {"rope_type": "default", "rope_theta": 700.0}
        config = MistralConfig(**shape, num_key_value_heads=2, sliding_window=5, rope_parameters=rope)
        language_model = MistralForCausalLM(config)
    else:
        language_model = LlamaForCausalLM(LlamaConfig(**shape))
    tower = CLIPVisionModel(vision_config())
    projector = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.GELU(), torch.nn.Linear(64, 64))
    return Original(language_model.eval(), tower.eval(), projector)


def vision_config() -> CLIPVisionConfig:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    return CLIPVisionConfig(**shape, image_size=28, patch_size=14, projection_dim=32, initializer_range=0.3)


@pytest.fixture(scope="module")
def original(tokenizer: PreTrainedTokenizerFast) -> Original:
    return original_model(len(tokenizer))


@pytest.fixture(scope="module")
def tower_folder(original: Original, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tower")
    original.tower.save_pretrained(folder)
    return folder


def write_weights(folder: Path, tensors: dict[str, torch.Tensor], form: str) -> None:
    if form == "safetensors":
        save_file(tensors, folder / "model.safetensors")
    elif form == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        names = sorted(tensors)
        files = {name: f"pytorch_model-0000{1 + index % 2}-of-00002.bin" for index, name in enumerate(names)}
        for file in set(files.values()):
            torch.save({name: tensors[name] for name in names if files[name] == file}, folder / file)
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))


def write_original(
    folder: Path, original: Original, tokenizer: PreTrainedTokenizerFast, form: str = "bin", **changes: Any
) -> Path:
    folder.mkdir(exist_ok=True)
    # Older versions stored these two as well.
    constants = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8),
        f"{TOWER}embeddings.position_ids": torch.arange(5),
    }
    write_weights(folder, original.tensors() | constants, form)
    (folder / "config.json").write_text(json.dumps(original.config() | changes))
    tokenizer.save_pretrained(folder)
    return folder


def load(folder: Path) -> LlavaForConditionalGeneration:
    model, info = LlavaForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    return model.eval()


@torch.no_grad()
def assert_same_model(original: Original, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """The converted model gives exactly the original's logits, from the text and the image to the last bit."""
    before, after = tokenizer(WORDS[0]).input_ids, tokenizer(TEXT, add_special_tokens=False).input_ids
    pixels = torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    expected = original.logits(before, pixels, after)
    ids = torch.tensor([before + [len(tokenizer)] * 4 + after])
    actual = load(folder)(input_ids=ids, pixel_values=pixels).logits[0, :, : len(tokenizer)]
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("form", ["shards", "bin", "safetensors"])
def test_converted_model_is_the_original(
    original: Original, tokenizer: PreTrainedTokenizerFast, tower_folder: Path, tmp_path: Path, form: str
) -> None:
    """A wrong or forgotten weight would make every score wrong, with nothing to see in the logs."""
    source = write_original(tmp_path / "source", original, tokenizer, form)
    convert_checkpoint(source, tmp_path / "made" / "output", vision_tower=tower_folder)
    assert_same_model(original, tokenizer, tmp_path / "made" / "output")
    assert os.listdir(tmp_path / "made") == ["output"]
    files = list((tmp_path / "made" / "output").iterdir())
    assert {file.suffix for file in files} == {".json", ".safetensors"}
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in files)


def test_mistral(tokenizer: PreTrainedTokenizerFast, tower_folder: Path, tmp_path: Path) -> None:
    """A lost sliding window, RoPE base or number of key heads gives another model, or none."""
    original = original_model(len(tokenizer), mistral=True)
    source = write_original(tmp_path / "source", original, tokenizer)
    convert_checkpoint(source, tmp_path / "output", vision_tower=tower_folder)
    assert_same_model(original, tokenizer, tmp_path / "output")
    assert load(tmp_path / "output").config.text_config.model_type == "mistral"


def test_vocabulary_and_processor(
    original: Original, tokenizer: PreTrainedTokenizerFast, tower_folder: Path, tmp_path: Path
) -> None:
    """Texts must keep their tokens, the new ids must follow the old ones, and images must fill their places."""
    source = write_original(tmp_path / "source", original, tokenizer)
    convert_checkpoint(source, tmp_path / "output", vision_tower=tower_folder)
    config, size = load(tmp_path / "output").config, len(tokenizer)
    converted = AutoTokenizer.from_pretrained(tmp_path / "output")
    assert converted(TEXT).input_ids == tokenizer(TEXT).input_ids
    assert converted.convert_tokens_to_ids(["<image>", "<pad>"]) == [size, size + 1]
    assert (config.image_token_index, config.text_config.pad_token_id, converted.pad_token_id) == (
        size,
        size + 1,
        size + 1,
    )
    assert config.text_config.vocab_size % 64 == 0
    assert size + 2 <= config.text_config.vocab_size < size + 66
    assert config.text_config.rms_norm_eps == 1e-5
    assert config.vision_feature_layer == -2
    processor = AutoProcessor.from_pretrained(tmp_path / "output")
    inputs = processor(text="<image>\nWhat?", images=torch.zeros(3, 40, 30, dtype=torch.uint8), return_tensors="pt")
    assert (inputs["input_ids"] == size).sum() == 4
    assert inputs["pixel_values"].shape == (1, 3, 28, 28)


def test_new_rows_are_the_mean_and_the_dtype_stays(
    tokenizer: PreTrainedTokenizerFast, tower_folder: Path, tmp_path: Path
) -> None:
    """Random rows would make two conversions differ; another dtype doubles the checkpoint or loses digits."""
    original = original_model(len(tokenizer))
    original.language_model.half()
    source = write_original(tmp_path / "source", original, tokenizer)
    convert_checkpoint(source, tmp_path / "output", vision_tower=tower_folder)
    written = load_file(tmp_path / "output" / "model.safetensors")["language_model.lm_head.weight"]
    old = original.language_model.lm_head.weight.detach()
    assert written.dtype == torch.float16
    assert load(tmp_path / "output").dtype == torch.float16
    assert json.loads((tmp_path / "output" / "config.json").read_text())["dtype"] == "float16"
    assert torch.equal(written[: len(old)], old)
    assert torch.allclose(written[len(old) :].float(), old.float().mean(dim=0), atol=1e-3)


def test_large_checkpoints_are_written_in_parts(
    original: Original,
    tokenizer: PreTrainedTokenizerFast,
    tower_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A 7B model must not have to fit into memory as a whole; its parts must be found again."""
    monkeypatch.setattr(convert_weights, "MAX_SHARD_BYTES", 150_000)
    source = write_original(tmp_path / "source", original, tokenizer, "shards")
    convert_checkpoint(source, tmp_path / "output", vision_tower=tower_folder)
    assert_same_model(original, tokenizer, tmp_path / "output")
    sizes = [file.stat().st_size for file in (tmp_path / "output").glob("model-*.safetensors")]
    assert len(sizes) > 1
    assert max(sizes) < 160_000


@pytest.mark.parametrize("whole_clip", [False, True])
def test_vision_weights_from_their_own_folder(
    original: Original, tokenizer: PreTrainedTokenizerFast, tower_folder: Path, tmp_path: Path, whole_clip: bool
) -> None:
    """Many checkpoints leave the frozen vision tower out: without it there is no image model."""
    source = write_original(tmp_path / "source", original, tokenizer)
    rest = {name: value for name, value in original.tensors().items() if not name.startswith(TOWER)}
    write_weights(source, rest, "bin")
    with pytest.raises(SettingsError, match=r"openai/clip-vit-large-patch14-336 .*--vision-tower"):
        convert_checkpoint(source, tmp_path / "output")
    if whole_clip:
        text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        clip = CLIPModel(CLIPConfig(vision_config=vision_config().to_dict(), text_config=text))
        clip.vision_model.load_state_dict(original.tower.state_dict())
        tower_folder = tmp_path / "clip"
        clip.save_pretrained(tower_folder)
    convert_checkpoint(source, tmp_path / "output", vision_tower=tower_folder)
    assert_same_model(original, tokenizer, tmp_path / "output")


def test_vision_weights_of_the_checkpoint_come_first(
    original: Original, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """A vision tower that was trained along must not be replaced by the one it started from."""
    source = write_original(tmp_path / "source", original, tokenizer)
    torch.manual_seed(5)
    CLIPVisionModel(vision_config()).save_pretrained(tmp_path / "other")
    convert_checkpoint(source, tmp_path / "output", vision_tower=tmp_path / "other")
    assert_same_model(original, tokenizer, tmp_path / "output")


def write_lora(folder: Path, original: Original, merged: Original, form: str, rslora: bool, wrapped: bool) -> Path:
    """What LLaVA's LoRA training leaves behind; the same change is made to `merged` by hand."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(2)
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 6, "use_rslora": rslora, "base_model_name_or_path": "vicuna"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    tensors = {}
    for module in ("layers.0.self_attn.q_proj", "layers.1.mlp.down_proj"):
        linear = merged.language_model.model.get_submodule(module)
        first = torch.randn(4, linear.in_features, generator=generator)
        second = torch.randn(linear.out_features, 4, generator=generator)
        tensors[f"base_model.model.model.{module}.lora_A.weight"] = first
        tensors[f"base_model.model.model.{module}.lora_B.weight"] = second
        linear.weight.data += 6 / (2 if rslora else 4) * (second @ first)
    if form == "bin":
        torch.save(tensors, folder / "adapter_model.bin")
    else:
        save_file(tensors, folder / "adapter_model.safetensors")
    projector = {name: value for name, value in merged.tensors().items() if "mm_projector" in name}
    prefix = "base_model.model." if wrapped else ""
    torch.save({prefix + name: value for name, value in projector.items()}, folder / "non_lora_trainables.bin")
    (folder / "config.json").write_text(json.dumps(original.config()))
    return folder


@pytest.mark.parametrize(("form", "rslora", "wrapped"), [("bin", False, True), ("safetensors", True, False)])
def test_lora_is_merged_into_its_base(
    original: Original,
    tokenizer: PreTrainedTokenizerFast,
    tower_folder: Path,
    tmp_path: Path,
    form: str,
    rslora: bool,
    wrapped: bool,
) -> None:
    """A user who trained with LoRA would score with the base model, or with a change of the wrong strength."""
    base = tmp_path / "base"
    original.language_model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    merged = original_model(len(tokenizer))
    source = write_lora(tmp_path / "lora", original, merged, form, rslora, wrapped)
    convert_checkpoint(source, tmp_path / "output", base=base, vision_tower=tower_folder)
    assert_same_model(merged, tokenizer, tmp_path / "output")
    with pytest.raises(SettingsError, match=r"vicuna.*--base"):
        convert_checkpoint(source, tmp_path / "other", vision_tower=tower_folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"r": 8}, "does not fit r = 8"),
    ],
)
def test_adapters_that_cannot_be_merged(
    original: Original,
    tokenizer: PreTrainedTokenizerFast,
    tower_folder: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    """Merging these as plain LoRA would give a model that nobody trained."""
    base = write_original(tmp_path / "base", original, tokenizer)
    source = write_lora(tmp_path / "lora", original, original_model(len(tokenizer)), "bin", False, True)
    file = source / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(SettingsError, match=message):
        convert_checkpoint(source, tmp_path / "output", base=base, vision_tower=tower_folder)


class Harmful:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("plain_pickle", [False, True])
def test_harmful_weights_are_not_run(
    original: Original, tokenizer: PreTrainedTokenizerFast, tower_folder: Path, tmp_path: Path, plain_pickle: bool
) -> None:
    """A downloaded .bin could otherwise run anything in the user's name."""
    source = write_original(tmp_path / "source", original, tokenizer)
    mark = tmp_path / "mark"
    file = source / "pytorch_model.bin"
    content = original.tensors() | {"model.norm.weight": Harmful(mark)}
    if plain_pickle:
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file)
    with pytest.raises(SettingsError, match=r"pytorch_model\.bin: (holds something other|cannot be read)"):
        convert_checkpoint(source, tmp_path / "output", vision_tower=tower_folder)
    assert not mark.exists()
    assert sorted(os.listdir(tmp_path)) == ["source"]


def test_weights_that_are_no_tensors(
    original: Original, tokenizer: PreTrainedTokenizerFast, tower_folder: Path, tmp_path: Path
) -> None:
    """A training state in place of the weights must be named, not end in a traceback."""
    source = write_original(tmp_path / "source", original, tokenizer)
    torch.save({"state_dict": original.tensors()}, source / "pytorch_model.bin")
    with pytest.raises(SettingsError, match=r"pytorch_model\.bin: .*'state_dict' is no tensor"):
        convert_checkpoint(source, tmp_path / "output", vision_tower=tower_folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mm_projector_type": "linear"}, "mm_projector_type is 'linear'"),
        ({"model_type": "llava_mpt"}, "llava_mpt"),
        ({"text_config": {}}, "Hugging Face form already"),
        ({"image_aspect_ratio": "anyres"}, r"LLaVA-1\.6"),
        ({"mm_use_im_start_end": True}, "mm_use_im_start_end"),
        ({"mm_vision_select_layer": None}, "mm_vision_select_layer"),
        ({"intermediate_size": 48}, r"mlp.*has the shape"),
        ({"num_hidden_layers": 3}, r"no language_model\.model\.layers\.2"),
        ({"num_hidden_layers": 1}, r"model\.layers\.1.* is no part of"),
        ({"hidden_size": "large"}, "does not describe a language model"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    original: Original,
    tokenizer: PreTrainedTokenizerFast,
    tower_folder: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    """Converted all the same, these would load and give wrong scores, or fail after an hour of writing."""
    source = write_original(tmp_path / "source", original, tokenizer, **changes)
    with pytest.raises(SettingsError, match=message):
        convert_checkpoint(source, tmp_path / "output", vision_tower=tower_folder)
    assert os.listdir(tmp_path) == ["source"]


def test_unknown_vision_tower(original: Original, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Only one tower's shape goes without saying; that of others cannot be guessed from the name."""
    known = write_original(tmp_path / "known", original, tokenizer)
    with pytest.raises(SettingsError, match=r"mm_projector\.0\.weight has the shape \[64, 32\], but .*\[64, 1024\]"):
        convert_checkpoint(known, tmp_path / "output")
    source = write_original(tmp_path / "source", original, tokenizer, mm_vision_tower="somebody/other-tower")
    with pytest.raises(SettingsError, match=r"somebody/other-tower.*--vision-tower"):
        convert_checkpoint(source, tmp_path / "output")


def test_missing_shard(
    original: Original, tokenizer: PreTrainedTokenizerFast, tower_folder: Path, tmp_path: Path
) -> None:
    """An interrupted download must be told by the name of what is missing."""
    source = write_original(tmp_path / "source", original, tokenizer, "shards")
    (source / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(SettingsError, match=r"00002-of-00002\.bin: is missing"):
        convert_checkpoint(source, tmp_path / "output", vision_tower=tower_folder)


def test_base_only_for_lora(original: Original, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """A user who names a base for a full checkpoint expects something that would not happen."""
    source = write_original(tmp_path / "source", original, tokenizer)
    with pytest.raises(SettingsError, match="leave out --base"):
        convert_checkpoint(source, tmp_path / "output", base=source)


def test_output_is_never_overwritten(
    original: Original, tokenizer: PreTrainedTokenizerFast, tower_folder: Path, tmp_path: Path
) -> None:
    """The folder may be the user's only copy of something; an empty one is fine."""
    source = write_original(tmp_path / "source", original, tokenizer)
    output = tmp_path / "output"
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="exists already"):
        convert_checkpoint(source, output, vision_tower=tower_folder)
    assert os.listdir(output) == ["notes.txt"]
    (output / "notes.txt").unlink()
    convert_checkpoint(source, output, vision_tower=tower_folder)
    assert (output / "model.safetensors").is_file()


@pytest.fixture
def small_files_only() -> Iterator[None]:
    """No file may grow over 100,000 bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_leaves_nothing_behind(
    original: Original,
    tokenizer: PreTrainedTokenizerFast,
    tower_folder: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Half a checkpoint under the final name would be loaded by the next job."""
    source = write_original(tmp_path / "source", original, tokenizer)
    request.getfixturevalue("small_files_only")
    with pytest.raises(SettingsError, match="is the disk full"):
        convert_checkpoint(source, tmp_path / "output", vision_tower=tower_folder)
    assert os.listdir(tmp_path) == ["source"]


def write_sentencepiece(folder: Path, legacy: bool | None) -> Any:
    import sentencepiece

    (folder / "tokenizer.json").unlink()
    (folder / "words.txt").write_text("\n".join(WORDS * 5))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "words.txt"),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=320,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    settings = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "pad_token": "<unk>"}
    settings |= {} if legacy is None else {"legacy": legacy}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


@pytest.mark.parametrize("legacy", [None, True, False])
def test_sentencepiece_tokenizer(
    tokenizer: PreTrainedTokenizerFast, tower_folder: Path, tmp_path: Path, legacy: bool | None
) -> None:
    """LLaVA-1.5 and Vicuna come with tokenizer.model only; other tokens than in training mean other losses."""
    original = original_model(320)
    source = write_original(tmp_path / "source", original, tokenizer)
    pieces = write_sentencepiece(source, legacy)
    convert_checkpoint(source, tmp_path / "output", vision_tower=tower_folder)
    converted = AutoTokenizer.from_pretrained(tmp_path / "output")
    for text in [*WORDS, "What is é 漢 🐈?\nA  kite"]:
        assert converted(text).input_ids == [1, *pieces.encode(text)]
    # transformers 4 put a space in front of what follows a special token, unless `legacy` was set to false.
    following = pieces.encode("USER") if legacy in (None, True) else pieces.encode("USER")[1:]
    assert converted("kite</s>USER", add_special_tokens=False).input_ids == [*pieces.encode("kite"), 2, *following]
    assert converted.convert_tokens_to_ids(["<image>", "<pad>"]) == [320, 321]
