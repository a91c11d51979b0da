"""Tiny random checkpoints of the families that the demo does not make."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
)

PINPOINTS = [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]]
QWEN_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
DEVIATION = 0.12
TEXT_CONFIGS: dict[str, Any] = {
    "llama": LlamaConfig,
    "mistral": partial(MistralConfig, num_key_value_heads=2),
    "qwen2": partial(Qwen2Config, num_key_value_heads=2),
}


def save(kind: Any, config: Any, folder: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        kind(config).save_pretrained(folder)


def write_llava_next(folder: Path, llava: Path, text_model: str) -> None:
    """LLaVA-NeXT with the tokenizer of a LLaVA-1.5 checkpoint: tiles of 56 pixels and 16 positions."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text((llava / name).read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    image = tokenizer.token_to_id("<image>")
    text: dict[str, Any] = {
        "vocab_size": image + 34,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 4096,
        "initializer_range": DEVIATION,
    }
    vision = CLIPVisionConfig(
        image_size=56, patch_size=14, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4
    )
    config = LlavaNextConfig(
        text_config=TEXT_CONFIGS[text_model](**text),
        vision_config=vision,
        image_token_index=image,
        image_grid_pinpoints=PINPOINTS,
        tie_word_embeddings=False,
    )
    save(LlavaNextForConditionalGeneration, config, folder)


def write_qwen(folder: Path, texts: list[str]) -> None:
    """Qwen2.5-VL: a byte-level tokenizer, window attention in the vision tower, keys shared between heads."""
    folder.mkdir()
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet))
    trained.add_special_tokens([AddedToken(token, normalized=False) for token in QWEN_TOKENS])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.save_pretrained(folder)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer) + 30,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "initializer_range": DEVIATION,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "num_heads": 2,
            "intermediate_size": 64,
            "out_hidden_size": 64,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        tie_word_embeddings=False,
    )
    save(Qwen2_5_VLForConditionalGeneration, config, folder)
