"""Adapters: the merged model is the adapted one, all of the adapter is in it, and what cannot be merged is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from families import save, write_qwen
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForImageTextToText,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import Round
from ards_ray.errors import SettingsError
from ards_ray.evaluation.engine import EngineSettings
from ards_ray.evaluation.vllm_engine import write_merged
from ards_ray.models.adapter import MERGEABLE, check_adapter, merge_adapter
from ards_ray.models.family import load_inputs, load_model
from ards_ray.models.loading import check_proxy, load_weights
from ards_ray.models.scoring import score_sequences
from ards_ray.models.sequence import TokenSequence

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SETTINGS = ProxySettings(device="cpu", dtype="float32")
IDS = torch.arange(5, 45)[None]


@pytest.fixture(scope="module")
def bases(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A LLaVA, a Qwen2.5-VL, and one whose output layer shares the weights of its embeddings."""
    folder = tmp_path_factory.mktemp("bases")
    for name in ("qwen", "tied"):
        write_qwen(folder / name, ["What is shown in the picture?", "A red kite above the sea."])
    config: Any = Qwen2_5_VLConfig.from_pretrained(folder / "tied")
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = True
    save(Qwen2_5_VLForConditionalGeneration, config, folder / "tied")
    return {"llava": checkpoints["llama"], "qwen": folder / "qwen", "tied": folder / "tied"}


def library_of(folder: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)


def write(base: Path, folder: Path, config: Any) -> Path:
    """An adapter with random weights, saved by PEFT."""
    adapted: Any = get_peft_model(library_of(base), config)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for name, weight in adapted.named_parameters():
            if weight.requires_grad:
                # Of whole layers a little other; of what an adapter adds, enough that it counts.
                weight.data += torch.randn_like(weight) * (0.05 if "modules_to_save" in name else 0.2)
    adapted.save_pretrained(folder)
    return folder


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS).logits
    return found


def unmerged(base: Path, adapter: Path) -> torch.Tensor:
    """What the library's model computes with the adapter beside its weights: that is what was trained."""
    return logits_of(PeftModel.from_pretrained(library_of(base), str(adapter)))


def merged(base: Path, adapter: Path, dtype: Any = "float32") -> Any:
    settings = replace(SETTINGS, adapter=str(adapter), dtype=dtype)
    check_proxy(base, settings)
    return load_weights(AutoModelForImageTextToText, base, settings)


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    # Sums in another order, over layers whose weights are some tenths.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


SHARED = {
    "LoRA on the output layer": LoraConfig(target_modules=["q_proj", "lm_head"]),
    "LoRA on the embeddings": LoraConfig(target_modules=["q_proj", "embed_tokens"]),
    "LoRA on both": LoraConfig(target_modules=["embed_tokens", "lm_head"]),
    "DoRA": LoraConfig(target_modules=["v_proj", "lm_head"], use_dora=True, use_rslora=True),
    "a pattern": LoraConfig(target_modules=r".*(lm_head|v_proj)"),
    "tied adapters": LoraConfig(target_modules=["lm_head"], ensure_weight_tying=True),
    "output layer as a whole": LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"]),
    "embeddings as a whole": LoraConfig(target_modules=["q_proj"], modules_to_save=["embed_tokens"]),
    "both as a whole": LoraConfig(target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"]),
    "both as one": LoraConfig(target_modules=["q_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True),
    "some tokens of both": LoraConfig(target_modules=["q_proj"], trainable_token_indices=[7, 9]),
    "some tokens said": LoraConfig(target_modules=["q_proj"], trainable_token_indices={"lm_head": [7, 9]}),
    "a parameter": LoraConfig(target_modules=[], target_parameters=["lm_head.weight"]),
    "nothing shared": LoraConfig(target_modules=["q_proj", "gate_proj"]),
}


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
@pytest.mark.filterwarnings("ignore:Could not find a config file")
@pytest.mark.parametrize("name", SHARED)
def test_what_was_trained_alone_is_changed_alone(bases: dict[str, Path], tmp_path: Path, name: str) -> None:
    """Merged into the storage that two layers share, the change of one is the other's too, in every loss."""
    adapter = write(bases["tied"], tmp_path / "adapter", SHARED[name])
    expected = unmerged(bases["tied"], adapter)
    assert float((expected - logits_of(library_of(bases["tied"]))).abs().max()) > 0.1
    model = merged(bases["tied"], adapter)
    assert_same(logits_of(model), expected)
    assert model.config.tie_word_embeddings == (name == "nothing shared")
    # The copy that is made for vLLM is read by its configuration.
    settings = EngineSettings("vllm", replace(SETTINGS, adapter=str(adapter)), "generate")
    copy = write_merged(settings, bases["tied"], tmp_path / "copy")
    assert_same(logits_of(library_of(copy)), expected)
    config = json.loads((copy / "config.json").read_text())
    tied = {config["tie_word_embeddings"], config["text_config"]["tie_word_embeddings"]}
    assert tied == {name == "nothing shared"}
    assert (name == "nothing shared") != any("lm_head" in key for key in load_file(copy / "model.safetensors"))


TOGETHER = {
    "LoRA and tokens of the output layer": LoraConfig(target_modules=["lm_head"], trainable_token_indices=[7, 9]),
    "with other layers": LoraConfig(target_modules=["q_proj", "lm_head"], trainable_token_indices=[7, 9]),
    "tokens of the embeddings": LoraConfig(
        target_modules=["lm_head"], trainable_token_indices={"embed_tokens": [7, 9]}, use_rslora=True
    ),
    "tokens of the output layer": LoraConfig(
        target_modules=["embed_tokens"], trainable_token_indices={"lm_head": [7, 9]}
    ),
    "tokens of each": LoraConfig(
        target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [7, 9], "lm_head": [7]}
    ),
    "tokens and a whole layer": LoraConfig(
        target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [7, 9]}, modules_to_save=["lm_head"]
    ),
    "DoRA and tokens": LoraConfig(target_modules=["lm_head"], trainable_token_indices=[7, 9], use_dora=True),
}


# What PEFT makes and saves, but cannot run or merge.
CANNOT_TOGETHER = [
    ("tied", TOGETHER["tokens and a whole layer"]),
    ("tied", TOGETHER["DoRA and tokens"]),
    ("qwen", LoraConfig(target_modules=["lm_head"], lora_bias=True)),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("base", "name"),
    [(base, name) for base in ("tied", "qwen") for name in TOGETHER if (base, TOGETHER[name]) not in CANNOT_TOGETHER],
)
def test_changes_of_two_kinds(bases: dict[str, Path], tmp_path: Path, base: str, name: str) -> None:
    """PEFT puts one layer into another, and drops what the outer one has learnt when it merges them."""
    adapter = write(bases[base], tmp_path / "adapter", TOGETHER[name])
    expected = unmerged(bases[base], adapter)
    assert float((expected - logits_of(library_of(bases[base]))).abs().max()) > 0.1
    assert_same(logits_of(merged(bases[base], adapter)), expected)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("base", "config"), CANNOT_TOGETHER)
def test_changes_that_cannot_be_together(bases: dict[str, Path], tmp_path: Path, base: str, config: Any) -> None:
    """There is no right number, so there is none."""
    adapter = write(bases[base], tmp_path / "adapter", config)
    with pytest.raises(SettingsError, match="the adapter does not fit the model"):
        merged(bases[base], adapter)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_merge_that_forgets(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """Whatever PEFT does not bring into the weights, without a word, is not scored."""
    adapter = write(bases["qwen"], tmp_path / "adapter", LoraConfig(target_modules=["v_proj", "lm_head"]))
    merged(bases["qwen"], adapter, dtype)
    monkeypatch.setattr(peft.tuners.lora.Linear, "merge", lambda layer, **_: None)
    with pytest.raises(SettingsError, match="merged into the weights, the adapter computes something else"):
        merged(bases["qwen"], adapter, dtype)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_layer_that_is_left_beside_the_weights(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scorer reads weights: what stands beside them is not in its losses. Here without our step PEFT leaves one."""
    config = LoraConfig(target_modules=["lm_head"], trainable_token_indices=[7, 9])
    adapter = write(bases["tied"], tmp_path / "adapter", config)
    monkeypatch.setattr("ards_ray.models.adapter._merge_tokens_within", lambda adapted: None)
    with pytest.raises(SettingsError, match=r"cannot be merged into lm_head, .*; merge it with the code"):
        merged(bases["tied"], adapter)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(bases: dict[str, Path], tmp_path: Path, value: float) -> None:
    """A training that went off; every loss would be one of those."""
    config = LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"])
    adapter = write(bases["qwen"], tmp_path / "adapter", config)
    tensors = load_file(adapter / WEIGHTS)
    key = next(key for key in tensors if "lora_B" in key)
    tensors[key][0, 0] = value
    with pytest.raises(SettingsError, match=f"1 of the adapter's tensors hold numbers that are not finite: {key}"):
        merged(bases["qwen"], changed(adapter, tmp_path / "off", tensors))


TIED_CASE = Path(__file__).parents[1] / "cases" / "tied-adapter"
# The losses are those of the library's model with the adapter beside its weights.
TIED_ROWS = [
    ("Complete the sentence: There is exactly one black block as the top of ...", "a tower.", 7.0085),
    ("Complete the sentence: There is 1 box with only blue and ...", "yellow items.", 6.6030),
]


def test_losses_with_an_adapter_on_shared_weights() -> None:
    """A fixed checkpoint, adapter and answers: the numbers that a user sees."""
    inputs = load_inputs(TIED_CASE / "checkpoint")
    settings = replace(SETTINGS, adapter=str(TIED_CASE / "adapter"))
    model = load_model(TIED_CASE / "checkpoint", settings)
    sequences = [
        TokenSequence(*inputs.encode([Round(question, answer)], None, 2048), -1) for question, answer, _ in TIED_ROWS
    ]
    scored = score_sequences(model, sequences, [], [False, False], False, 4096)
    losses = [score.loss for score in scored.scores]
    # As written above, with four digits behind the point.
    assert losses == pytest.approx([loss for *_, loss in TIED_ROWS], abs=1e-4)


def config_of(kind: str) -> Any:
    """An adapter of this kind on some layers of Qwen2.5-VL, and on its output layer where it can be there."""
    special: dict[str, dict[str, Any]] = {
        "ADALORA": {"total_step": 9},
        "BOFT": {"target_modules": ["q_proj"], "boft_block_size": 4},
        "IA3": {"feedforward_modules": []},
        "ROAD": {"target_modules": ["q_proj"]},
        "LN_TUNING": {"target_modules": ["input_layernorm", "norm"]},
        "TRAINABLE_TOKENS": {"target_modules": ["embed_tokens"], "token_indices": [7, 9]},
    }
    mapping: Any = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING
    return mapping[kind](**{"target_modules": ["q_proj", "lm_head"], **special.get(kind, {})})


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", MERGEABLE)
def test_kinds_of_adapters_that_are_merged(bases: dict[str, Path], tmp_path: Path, kind: str) -> None:
    """A kind that only seems to be merged gives the losses of another model."""
    adapter = write(bases["tied"], tmp_path / "adapter", config_of(kind))
    expected = unmerged(bases["tied"], adapter)
    assert float((expected - logits_of(library_of(bases["tied"]))).abs().max()) > 0.01
    assert_same(logits_of(merged(bases["tied"], adapter)), expected)


OLDER = {
    "llava": (("model.language_model.", "language_model.model."), ("lm_head.", "language_model.lm_head.")),
    "qwen": (("model.language_model.", "model."), ("model.visual.", "visual.")),
}
VISION = {
    "llava": (
        ("model.vision_tower.", "vision_tower.vision_model."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
    ),
    "qwen": (),
}


def with_older_names(family: str, adapter: Path, folder: Path, **config: Any) -> Path:
    """The adapter as versions before 4.52 of the library named its tensors."""
    renames = OLDER[family] + VISION[family]
    tensors = {}
    for key, tensor in load_file(adapter / WEIGHTS).items():
        name = key.removeprefix("base_model.model.")
        new = next((old + name.removeprefix(now) for now, old in renames if name.startswith(now)), name)
        tensors[f"base_model.model.{new}"] = tensor
    return changed(adapter, folder, tensors, **config)


def changed(adapter: Path, folder: Path, tensors: dict[str, torch.Tensor] | None = None, **config: Any) -> Path:
    folder.mkdir()
    save_file(load_file(adapter / WEIGHTS) if tensors is None else tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({**json.loads((adapter / CONFIG).read_text()), **config}))
    return folder


RENAMED: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "names of layers": ("llava", LoraConfig(target_modules=["q_proj", "fc1", "linear_1", "lm_head"]), {}),
    "a pattern that fits both": (
        "llava",
        LoraConfig(target_modules=r".*language_model.*\.(q_proj|v_proj)"),
        {},
    ),
    "a pattern of older names": (
        "llava",
        LoraConfig(target_modules=r"model\.language_model\.layers\.[01]\..*\.q_proj|lm_head"),
        {"target_modules": r"language_model\.(model\.layers\.[01]\..*\.q_proj|lm_head)"},
    ),
    "older names in full": (
        "llava",
        LoraConfig(target_modules=["model.language_model.layers.1.self_attn.q_proj"]),
        {"target_modules": ["language_model.model.layers.1.self_attn.q_proj"]},
    ),
    "a pattern that fits more now": (
        "qwen",
        LoraConfig(target_modules=r"model\.language_model.*\.(q_proj|up_proj)"),
        {"target_modules": r"(?!visual).*\.(q_proj|up_proj)"},
    ),
    "ranks and factors": (
        "qwen",
        LoraConfig(
            target_modules=["q_proj", "v_proj"],
            rank_pattern={r"model\.language_model\.layers\.0\.self_attn\.q_proj": 4},
            alpha_pattern={r"model\.language_model\.layers\.1\.self_attn\.v_proj": 40, "v_proj": 20},
        ),
        {
            "rank_pattern": {r"model\.layers\.0\.self_attn\.q_proj": 4},
            "alpha_pattern": {r"^model\.layers\.1\.self_attn\.v_proj": 40, "v_proj": 20},
        },
    ),
    "layers as a whole": (
        "llava",
        LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head", "model.multi_modal_projector"]),
        {"modules_to_save": ["language_model.lm_head", "multi_modal_projector"]},
    ),
    "layers as a whole that are not said": (
        "llava",
        LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head", "embed_tokens"]),
        {"modules_to_save": None},
    ),
    "the vision side": ("qwen", LoraConfig(target_modules=["qkv", "q_proj"], modules_to_save=["visual.merger"]), {}),
    "a parameter": (
        "llava",
        LoraConfig(target_modules=[], target_parameters=["lm_head.weight"]),
        {"target_parameters": ["language_model.lm_head.weight"]},
    ),
    "some tokens": (
        "llava",
        LoraConfig(target_modules=["q_proj"], trainable_token_indices={"lm_head": [3, 4]}),
        {"trainable_token_indices": {"language_model.lm_head": [3, 4]}},
    ),
    "another kind": ("qwen", peft.LoHaConfig(target_modules=["q_proj", "lm_head"]), {}),
}


@pytest.mark.parametrize("name", RENAMED)
def test_names_of_older_versions(bases: dict[str, Path], tmp_path: Path, name: str) -> None:
    """Published adapters have them; a tensor that is dropped for its name is training that is not in the losses."""
    family, config, said = RENAMED[name]
    adapter = write(bases[family], tmp_path / "adapter", config)
    old = with_older_names(family, adapter, tmp_path / "old", **said)
    assert load_file(old / WEIGHTS).keys() != load_file(adapter / WEIGHTS).keys()
    assert_same(logits_of(merged(bases[family], old)), unmerged(bases[family], adapter))


def test_vision_layers_under_the_names_of_the_versions_between(bases: dict[str, Path], tmp_path: Path) -> None:
    """Versions 4.52 to 4.57 name a level of CLIP's more than later ones. What it computes, its weights tell."""
    adapter = write(bases["llava"], tmp_path / "adapter", LoraConfig(target_modules=["q_proj", "fc1"]))
    tensors = {
        key.replace("vision_tower.", "vision_tower.vision_model."): tensor
        for key, tensor in load_file(adapter / WEIGHTS).items()
    }
    between = changed(adapter, tmp_path / "between", tensors)
    expected, found = (merged(bases["llava"], folder).state_dict() for folder in (adapter, between))
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_weights_that_are_shared_elsewhere(bases: dict[str, Path], tmp_path: Path) -> None:
    """The embeddings are not the only weights that a model may use twice."""

    def sharing() -> Any:
        model = library_of(bases["qwen"])
        first, second, _ = model.model.language_model.layers
        second.self_attn.q_proj.weight = first.self_attn.q_proj.weight
        return model

    config = LoraConfig(target_modules=["layers.1.self_attn.q_proj"])
    adapter = write(bases["qwen"], tmp_path / "adapter", config)
    expected = logits_of(PeftModel.from_pretrained(sharing(), str(adapter)))
    assert_same(logits_of(merge_adapter(sharing(), str(adapter))), expected)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
def test_two_values_for_weights_that_are_one(bases: dict[str, Path], tmp_path: Path) -> None:
    """Stored by a model whose layers do not share them: one value would silently take the place of the other."""
    config = LoraConfig(target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    adapter = write(bases["tied"], tmp_path / "adapter", config)
    unsaid = changed(adapter, tmp_path / "unsaid", modules_to_save=None)
    with pytest.raises(SettingsError, match="1 of the adapter's tensors disagree with others"):
        merged(bases["tied"], unsaid)


def refused_early_and_late(base: Path, adapter: Path, message: str) -> None:
    """Before weights are loaded, and by a caller that loads them without asking."""
    settings = replace(SETTINGS, adapter=str(adapter))
    for act in (
        lambda: check_proxy(base, settings),
        lambda: load_weights(AutoModelForImageTextToText, base, settings),
    ):
        with pytest.raises(SettingsError, match=message):
            act()


LAYER = "base_model.model.model.language_model.layers"


@pytest.mark.parametrize("settings", [{}, {"modules_to_save": ["lm_head"]}])
@pytest.mark.parametrize(
    "key",
    [
        "base_model.model.score.weight",
        f"{LAYER}.0.self_attn.q_norm.weight",
        f"{LAYER}.9.self_attn.q_proj.lora_A.weight",
        f"{LAYER}.0.self_attn.v_proj.lora_A.weight",
        "base_model.model.transformer.h.0.attn.lora_A.weight",
        "model.language_model.layers.0.self_attn.q_proj.lora_A.weight",
    ],
)
def test_tensors_without_a_place(bases: dict[str, Path], tmp_path: Path, key: str, settings: dict[str, Any]) -> None:
    """The library drops them without a word, and with them a part of what was trained."""
    adapter = write(bases["qwen"], tmp_path / "adapter", LoraConfig(target_modules=["q_proj"], **settings))
    tensors = {**load_file(adapter / WEIGHTS), key: torch.zeros(64, 64)}
    refused_early_and_late(
        bases["qwen"],
        changed(adapter, tmp_path / "more", tensors),
        f"1 of the adapter's tensors have no place in the model: {key}$",
    )


def test_names_of_many_tensors_without_a_place(bases: dict[str, Path], tmp_path: Path) -> None:
    """The message stays a line."""
    adapter = write(bases["qwen"], tmp_path / "adapter", LoraConfig(target_modules=["q_proj"]))
    tensors = {f"{key}.more": tensor for key, tensor in load_file(adapter / WEIGHTS).items()}
    more = changed(adapter, tmp_path / "more", {**load_file(adapter / WEIGHTS), **tensors})
    with pytest.raises(SettingsError, match=r"6 of the adapter's tensors .* and 3 more$"):
        merged(bases["qwen"], more)


def test_names_with_the_name_of_the_adapter(bases: dict[str, Path], tmp_path: Path) -> None:
    """Training code that writes the weights itself leaves it in them."""
    adapter = write(bases["qwen"], tmp_path / "adapter", LoraConfig(target_modules=["q_proj"]))
    tensors = {key.replace(".weight", ".default.weight"): one for key, one in load_file(adapter / WEIGHTS).items()}
    named = changed(adapter, tmp_path / "named", tensors)
    assert_same(logits_of(merged(bases["qwen"], named)), unmerged(bases["qwen"], adapter))


def test_a_tensor_under_two_names(bases: dict[str, Path], tmp_path: Path) -> None:
    """One of the two would be dropped, and nobody knows which is the later one."""
    adapter = write(bases["llava"], tmp_path / "adapter", LoraConfig(target_modules=["q_proj"]))
    old = with_older_names("llava", adapter, tmp_path / "old")
    tensors = {**load_file(old / WEIGHTS), **load_file(adapter / WEIGHTS)}
    with pytest.raises(SettingsError, match="of the adapter's tensors are there twice"):
        merged(bases["llava"], changed(adapter, tmp_path / "both", tensors))


@pytest.mark.parametrize("part", ["layers.2.self_attn.q_proj.lora_B", "lm_head.weight"])
def test_tensors_that_are_missing(bases: dict[str, Path], tmp_path: Path, part: str) -> None:
    """What the configuration names and the file lacks would stay at random numbers, or untrained."""
    config = LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"])
    adapter = write(bases["qwen"], tmp_path / "adapter", config)
    tensors = {key: tensor for key, tensor in load_file(adapter / WEIGHTS).items() if part not in key}
    less = changed(adapter, tmp_path / "less", tensors)
    refused_early_and_late(bases["qwen"], less, f"1 of the adapter's tensors are missing: .*{part}")


@pytest.mark.parametrize(
    ("base", "config", "message"),
    [
        ("llava", {}, r"\d+ of the adapter's tensors (are missing|have no place)"),
        ("qwen", {"r": 4}, "the adapter does not fit the model .*size mismatch"),
        ("qwen", {"target_modules": ["c_attn"]}, "of the adapter's tensors|the adapter does not fit the model"),
    ],
)
def test_adapters_of_another_model(
    bases: dict[str, Path], tmp_path: Path, base: str, config: dict[str, Any], message: str
) -> None:
    """What a configuration tells, nobody has to wait for a cluster and the corpus to hear."""
    adapter = write(bases["qwen"], tmp_path / "adapter", LoraConfig(target_modules=["q_proj", "qkv"]))
    refused_early_and_late(bases[base], changed(adapter, tmp_path / "other", **config), message)


CANNOT: dict[str, tuple[dict[str, Any], str]] = {
    "prompt tuning": ({"peft_type": "PROMPT_TUNING"}, "peft_type 'PROMPT_TUNING' cannot be merged"),
    "prefix tuning": ({"peft_type": "PREFIX_TUNING"}, "peft_type 'PREFIX_TUNING' cannot be merged"),
    "p-tuning": ({"peft_type": "P_TUNING"}, "peft_type 'P_TUNING' cannot be merged"),
    "adaption prompt": ({"peft_type": "ADAPTION_PROMPT"}, "peft_type 'ADAPTION_PROMPT' cannot be merged"),
    "unheard of": ({"peft_type": "SWEET"}, "peft_type 'SWEET' cannot be merged"),
    "no kind": ({"peft_type": None}, "peft_type None cannot be merged"),
    "a start that changes the base": ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa' changes the base"),
    "a change for some tokens": ({"alora_invocation_tokens": [3]}, "alora_invocation_tokens cannot be merged"),
    "layers that stand twice": ({"layer_replication": [[0, 2], [1, 3]]}, "layer_replication cannot be merged"),
    "a key of tomorrow": ({"use_tomorrow": True}, "does not know use_tomorrow"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_adapters_that_cannot_be_merged(bases: dict[str, Path], tmp_path: Path, name: str) -> None:
    """Known by its files, before a cluster is there; merged as if it were plain, it would be another model."""
    settings, message = CANNOT[name]
    adapter = write(bases["qwen"], tmp_path / "adapter", LoraConfig(target_modules=["q_proj"]))
    assert check_adapter(str(adapter)) == adapter
    refused = changed(adapter, tmp_path / "refused", **settings)
    with pytest.raises(SettingsError, match=message) as error:
        check_adapter(str(refused))
    assert str(refused) in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_beside_an_adapter(bases: dict[str, Path], tmp_path: Path) -> None:
    """Training scripts keep the projector's there: PEFT does not know them."""
    adapter = write(bases["qwen"], tmp_path / "adapter", LoraConfig(target_modules=["q_proj"]))
    (adapter / "non_lora_state_dict.bin").write_bytes(b"x")
    with pytest.raises(SettingsError, match=r"non_lora_state_dict.bin holds weights that would be left out"):
        check_adapter(str(adapter))


def test_keys_of_training_alone(bases: dict[str, Path], tmp_path: Path) -> None:
    """Adapters of ms-swift have them."""
    adapter = write(bases["qwen"], tmp_path / "adapter", LoraConfig(target_modules=["q_proj"]))
    swift = changed(adapter, tmp_path / "swift", lora_dtype="AUTO", lorap_emb_lr=1e-6, lorap_lr_ratio=16.0)
    assert_same(logits_of(merged(bases["qwen"], swift)), unmerged(bases["qwen"], adapter))
