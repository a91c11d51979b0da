"""Adapters as PEFT writes them, with random weights."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlavaForConditionalGeneration


def write_adapter(model: Path, folder: Path, deviation: float) -> Any:
    """Write an adapter for a LLaVA checkpoint; gives the library's model with it, not merged."""
    base = LlavaForConditionalGeneration.from_pretrained(model)
    adapted: Any = get_peft_model(base, LoraConfig(target_modules=["q_proj", "lm_head"], init_lora_weights=False))
    torch.manual_seed(3)
    for name, weight in adapted.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(weight, std=deviation)
    adapted.save_pretrained(folder)
    return adapted
