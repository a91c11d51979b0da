"""A tiny LLaVA-1.5 checkpoint with random weights and a tokenizer made for the demo corpus."""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, MistralConfig

_SPECIAL = ("<unk>", "<s>", "</s>")
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_TEXT_TOKENS = 1000
_LONGEST = 2048
_IMAGE_SIZE = 56
_PATCH_SIZE = 14
# Large enough for predictions that are far from uniform, so that losses differ between conversations.
_WEIGHT_DEVIATION = 0.12
_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. USER: ASSISTANT:"
)


def write_checkpoint(
    folder: Path,
    corpus: Path,
    seed: int = 42,
    text_model: Literal["llama", "mistral"] = "llama",
    head_width: int = 16,
    deviation: float = _WEIGHT_DEVIATION,
) -> None:
    """Write a checkpoint in the Hugging Face format: 16 patches for each image, 3 decoder layers of width 64.

    Args:
        folder: Where it goes; made if need be.
        corpus: LLaVA JSON array, whose texts the tokenizer is trained on.
        seed: Seed of the weights.
        text_model: Family of the language model; Mistral's attention shares keys and values between heads.
        head_width: Width of each of the language model's four attention heads.
        deviation: Standard deviation of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = json.loads(corpus.read_text(encoding="utf-8"))
    texts = [turn["value"].replace("<image>", "") for record in records for turn in record["conversations"]]
    # The template stands around every conversation, so it counts as often.
    tokenizer = _train_tokenizer([_SYSTEM] * len(records) + texts)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config())
    _write_json(folder / "processor_config.json", _processor_config())
    config = _model_config(tokenizer.get_vocab(), text_model, head_width, deviation)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which seeds the caller's GPUs too.
        torch.default_generator.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    model.save_pretrained(folder)


def _train_tokenizer(texts: list[str]) -> Tokenizer:
    """Byte-pair encoding as Llama's: no token spans words, digits stand alone, unknown characters become bytes."""
    trained = Tokenizer(models.BPE())
    # The split is for training alone; line breaks stay out of it, so that they become bytes.
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(split=True), pre_tokenizers.Digits(individual_digits=True)]
    )
    trainer = trainers.BpeTrainer(vocab_size=_TEXT_TOKENS - len(_SPECIAL) - len(_BYTES), show_progress=False)
    trained.train_from_iterator((line for text in texts for line in text.split("\n")), trainer)
    by_rank = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    pieces = [token for token, _ in by_rank if len(token) > 1]
    characters = [token for token, _ in by_rank if len(token) == 1]

    vocabulary = {token: index for index, token in enumerate((*_SPECIAL, *_BYTES, *pieces, *characters))}
    # Sentencepiece joins whichever neighbours make the best-ranked piece, so every split of a piece is a merge.
    merges = [
        (piece[:cut], piece[cut:])
        for piece in pieces
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (*_SPECIAL, "<image>", "<pad>")])
    return tokenizer


def _model_config(
    vocabulary: dict[str, int], text_model: Literal["llama", "mistral"], head_width: int, deviation: float
) -> LlavaConfig:
    text: dict[str, Any] = {
        "vocab_size": (len(vocabulary) + 63) // 64 * 64,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "head_dim": head_width,
        "max_position_embeddings": 2 * _LONGEST,
        "initializer_range": deviation,
        "bos_token_id": vocabulary["<s>"],
        "eos_token_id": vocabulary["</s>"],
        "pad_token_id": vocabulary["<pad>"],
        "tie_word_embeddings": False,
    }
    vision = CLIPVisionConfig(
        image_size=_IMAGE_SIZE,
        patch_size=_PATCH_SIZE,
        hidden_size=32,
        intermediate_size=64,
        projection_dim=32,
        num_hidden_layers=3,
        num_attention_heads=4,
    )
    return LlavaConfig(
        text_config=MistralConfig(**text, num_key_value_heads=2) if text_model == "mistral" else LlamaConfig(**text),
        vision_config=vision,
        image_token_index=vocabulary["<image>"],
        image_seq_length=(_IMAGE_SIZE // _PATCH_SIZE) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
        dtype="float32",
    )


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "add_bos_token": True,
        "add_eos_token": False,
        "legacy": True,
        "clean_up_tokenization_spaces": False,
        "model_max_length": _LONGEST,
        "padding_side": "right",
        "processor_class": "LlavaProcessor",
    }


def _processor_config() -> dict[str, Any]:
    return {
        "processor_class": "LlavaProcessor",
        "image_token": "<image>",
        "num_additional_image_tokens": 1,
        "patch_size": _PATCH_SIZE,
        "vision_feature_select_strategy": "default",
        "image_processor": {
            "image_processor_type": "CLIPImageProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "size": {"shortest_edge": _IMAGE_SIZE},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": _IMAGE_SIZE, "width": _IMAGE_SIZE},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
        },
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
