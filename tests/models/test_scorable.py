"""Checkpoints that the library would load without a word, and whose losses would be wrong."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from families import write_qwen
from peft import LoraConfig, get_peft_model
from rich.console import Console
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from ards_ray.config import CorpusSettings, ProxySettings, Settings
from ards_ray.errors import SettingsError
from ards_ray.evaluation.settings import EvaluationSettings
from ards_ray.jobs.evaluate import evaluate
from ards_ray.jobs.plan import plan
from ards_ray.jobs.select import select
from ards_ray.models.family import load_inputs, load_model
from ards_ray.models.loading import check_proxy

Edit = Callable[[Path], None]
SETTINGS = ProxySettings(device="cpu", dtype="float32")
NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True}


def copied(checkpoint: Path, target: Path, edit: Edit) -> Path:
    shutil.copytree(checkpoint, target)
    edit(target)
    return target


def configure(part: str | None = None, **values: Any) -> Edit:
    """Sets keys of the configuration, or of one of its parts."""

    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (config if part is None else config[part]).update(values)
        (folder / "config.json").write_text(json.dumps(config))

    return edit


def rope(**values: Any) -> Edit:
    """Puts these keys in place of the text model's rotary positions."""

    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        text = config["text_config"]
        text.pop("rope_parameters", None)
        text.update(values)
        (folder / "config.json").write_text(json.dumps(config))

    return edit


def in_file(name: str) -> Edit:
    return lambda folder: (folder / name).write_text("{}") and None


def stored_as(dtype: torch.dtype) -> Edit:
    """Stores one weight in another type."""

    def edit(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        name = next(name for name in tensors if "q_proj" in name)
        save_file({**tensors, name: tensors[name].to(dtype)}, folder / "model.safetensors", {"format": "pt"})

    return edit


DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
LONG = {"factor": 2.0, "short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "original_max_position_embeddings": 64}


@pytest.mark.parametrize("family", ["llava", "qwen"])
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"rope_parameters": DYNAMIC}, "dynamic"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "dynamic"),
        ({"rope_parameters": {"full_attention": DYNAMIC}}, "dynamic"),
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 10000.0, **LONG}}, "longrope"),
        ({"rope_scaling": {"type": "longrope", **LONG}}, "longrope"),
        ({"rope_scaling": {"type": "su", "factor": 2.0}}, "su"),
    ],
)
def test_positions_that_depend_on_other_sequences(
    checkpoints: dict[str, Path], tmp_path: Path, family: str, values: dict[str, Any], kind: str
) -> None:
    """The library's module keeps frequencies of the longest sequence that it saw: a resumed run would score others."""
    write_qwen(tmp_path / "qwen", ["A red kite above the sea."])
    base = checkpoints["llama"] if family == "llava" else tmp_path / "qwen"
    folder = copied(base, tmp_path / "model", rope(**values))
    for load in (load_inputs, lambda folder: load_model(folder, SETTINGS)):
        with pytest.raises(SettingsError, match=f"config.json: rope_type '{kind}' cannot be used"):
            load(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"rope_theta": 10000.0},
        {"rope_scaling": None},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 10000.0}},
        {
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 128,
            }
        },
    ],
)
def test_positions_that_depend_on_the_sequence_alone(
    checkpoints: dict[str, Path], tmp_path: Path, values: dict[str, Any]
) -> None:
    """They are scored, and the same after a long sequence as before it."""
    folder = copied(checkpoints["llama"], tmp_path / "model", rope(**values))
    model: Any = load_model(folder, SETTINGS)
    short, long = torch.arange(50)[None], torch.arange(9000)[None]
    before, _, after = (model.rotary(places) for places in (short, long, short))
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


QUANTISED: dict[str, tuple[Edit, str]] = {
    "bitsandbytes": (configure(quantization_config=NF4), r"config.json: the weights are quantised \(bitsandbytes\)"),
    "of the text model": (configure("text_config", quantization_config={"quant_method": "fp8"}), r"quantised \(fp8\)"),
    "of the vision tower": (configure("vision_config", quantization_config={"quant_method": "awq"}), r"\(awq\)"),
    "unheard of": (configure(quantization_config={"quant_method": "tiny"}), r"quantised \(tiny\)"),
    "no method": (configure(quantization_config={"bits": 4}), r"quantised \(no quant_method said\)"),
    "compressed tensors": (
        configure(compression_config={"quant_method": "compressed-tensors"}),
        r"quantised \(compressed-tensors\)",
    ),
    "MLX": (configure(quantization={"bits": 4}), "config.json: the weights are quantised"),
    "said at the top": (configure(quant_method="fp8"), r"config.json: the weights are quantised \(fp8\)"),
    "GPTQ's key": (configure(quantize_config={"quant_method": "gptq", "bits": 4}), r"quantised \(gptq\)"),
    "AWQ's key": (configure("text_config", quant_config={"w_bit": 4}), r"quantised \(no quant_method said\)"),
    "a type": (configure(dtype="float8_e4m3fn"), r"config.json: dtype 'float8_e4m3fn' says that the weights are"),
    "an older key": (configure("text_config", torch_dtype="int8"), r"config.json: dtype 'int8' says"),
    "an unknown type": (configure(dtype="nf4"), r"config.json: (dtype 'nf4' says|not a .* no attribute 'nf4')"),
    "a type for a part": (configure(dtype={"text_config": "float8_e5m2"}), r"config.json: dtype 'float8_e5m2' says"),
    "GPTQ's own file": (in_file("quantize_config.json"), "quantize_config.json: the weights are quantised"),
    "AWQ's own file": (in_file("quant_config.json"), "quant_config.json: the weights are quantised"),
    "ModelOpt's own file": (in_file("hf_quant_config.json"), "hf_quant_config.json: the weights are quantised"),
    "eight bits of floating point": (stored_as(torch.float8_e4m3fn), "q_proj.weight is stored as F8_E4M3"),
    "integers": (stored_as(torch.int8), "q_proj.weight is stored as I8"),
}


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_weights(checkpoints: dict[str, Path], tmp_path: Path, name: str) -> None:
    """The library ignores most of these and computes with rounded weights, or with numbers of another meaning."""
    edit, message = QUANTISED[name]
    folder = copied(checkpoints["llama"], tmp_path / "model", edit)
    for act in (check_proxy, load_model):
        with pytest.raises(SettingsError, match=message) as error:
            act(folder, SETTINGS)
        assert str(folder) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("config", [None, {}])
def test_weights_that_are_not_quantised(checkpoints: dict[str, Path], tmp_path: Path, config: Any) -> None:
    """An empty key says nothing."""
    folder = copied(checkpoints["llama"], tmp_path / "model", configure(quantization_config=config))
    load_model(folder, SETTINGS)
    load_model(copied(folder, tmp_path / "half", stored_as(torch.bfloat16)), SETTINGS)
    for number, dtype in enumerate(("bfloat16", "torch.float16", None, {"text_config": "bfloat16"})):
        check_proxy(copied(folder, tmp_path / f"{number}", configure(dtype=dtype, torch_dtype=dtype)), SETTINGS)


@pytest.fixture(scope="module")
def adapter(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    model: Any = AutoModelForImageTextToText.from_pretrained(checkpoints["llama"])
    get_peft_model(model, LoraConfig(target_modules=["q_proj"])).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("names", [("config.json", "model.safetensors"), ("config.json",), ("model.safetensors",)])
def test_an_adapter_left_beside_merged_weights(
    checkpoints: dict[str, Path], adapter: Path, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """The library applies it unasked: a second time, if the weights have it in them already."""
    folder = copied(checkpoints["llama"], tmp_path / "model", lambda folder: None)
    for name in names:
        shutil.copy(adapter / f"adapter_{name}", folder)
    said = " and ".join(f"adapter_{name}" for name in names)
    for load in (load_inputs, lambda folder: load_model(folder, SETTINGS)):
        with pytest.raises(
            SettingsError, match=f"holds {said} beside its own weights; .* delete .* --adapter"
        ) as error:
            load(folder)
        assert str(folder) in str(error.value)


def test_an_adapter_given_as_the_model(adapter: Path) -> None:
    """The library would take the base's name in it and load that from the hub."""
    with pytest.raises(SettingsError, match="a PEFT adapter, not a model; give it with --set"):
        load_inputs(adapter)


@pytest.mark.parametrize("wrong", ["weights", "adapter", "tensor"])
def test_told_before_a_cluster_is_there(
    checkpoints: dict[str, Path], adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """What files tell costs no start of a cluster and no model in any actor; vLLM serves quantised weights itself."""

    def started() -> None:
        raise RuntimeError("Ray")

    for module in ("cluster.replicas", "cluster.session", "cluster.workers"):
        monkeypatch.setattr(f"ards_ray.{module}.ray_session", started)
    tuned = copied(adapter, tmp_path / "adapter", lambda folder: None)
    proxy = replace(SETTINGS, model=str(checkpoints["llama"]), adapter=str(tuned))
    message = "peft_type 'PREFIX_TUNING' cannot be merged"
    (tmp_path / "corpus.json").write_text('[{"conversations": [{"from": "human", "value": "Hi"}]}]')
    (tmp_path / "questions.json").write_text('[{"id": "1", "question": "Who?", "answer": "I"}]')
    if wrong == "weights":
        proxy = replace(
            proxy, model=str(copied(checkpoints["llama"], tmp_path / "model", configure(quantization_config=NF4)))
        )
        message = "bitsandbytes"
    elif wrong == "tensor":
        file = tuned / "adapter_model.safetensors"
        save_file({**load_file(file), "base_model.model.score.weight": torch.zeros(2, 2)}, file)
        message = "1 of the adapter's tensors have no place in the model"
    else:
        kind = {**json.loads((tuned / "adapter_config.json").read_text()), "peft_type": "PREFIX_TUNING"}
        (tuned / "adapter_config.json").write_text(json.dumps(kind))
    console = Console(quiet=True)
    corpus = CorpusSettings(files=(str(tmp_path / "corpus.json"),))
    settings = Settings(corpus=corpus, proxy=proxy, output=str(tmp_path / "out"))
    questions = EvaluationSettings(
        model=proxy.model,
        adapter=proxy.adapter,
        dtype=proxy.dtype,
        device=proxy.device,
        benchmarks={"plain": str(tmp_path / "questions.json")},
        output=str(tmp_path / "asked"),
    )
    for act in (
        lambda: select(settings, console),
        lambda: plan(settings, console),
        lambda: evaluate(questions, console),
        lambda: evaluate(replace(questions, engine="vllm"), console),
    ):
        with pytest.raises(SettingsError, match=message):
            act()
    assert not any((tmp_path / name).exists() for name in ("out", "asked"))
    if wrong == "weights":
        alone = replace(questions, engine="vllm", adapter=None)
        with pytest.raises(RuntimeError, match="Ray"):
            evaluate(alone, console)
