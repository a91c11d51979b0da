"""A checkpoint's tokenizer, with the ids that it was trained with."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from ards_ray.errors import SettingsError

_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}


def load_tokenizer(folder: Path) -> Any:
    """The checkpoint's fast tokenizer.

    Raises:
        SettingsError: there is none.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError(f"{folder}: the tokenizer cannot be loaded ({error})") from error
    if not tokenizer.is_fast:
        raise SettingsError(f"{folder}: no tokenizer.json here; save the checkpoint with its fast tokenizer")
    if tokenizer.init_kwargs.get("legacy") is False:
        _prefix_once(tokenizer.backend_tokenizer)
    return tokenizer


def _prefix_once(tokenizer: Tokenizer) -> None:
    """Have a Sentencepiece tokenizer put its leading space in front of a text alone, and not behind special tokens too.

    `legacy: false` says so, and LLaVA was trained with the tokenizer that heeds it, the one in Python. A tokenizer.json
    from before the library could write that down puts it behind every special token: `</s>USER` has another token.
    """
    content = json.loads(tokenizer.to_str())
    steps, splitter = content["normalizer"], content["pre_tokenizer"]
    steps = steps["normalizers"] if steps and steps["type"] == "Sequence" else [steps] if steps else []
    once = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    if splitter is None and {"type": "Prepend", "prepend": "▁"} in steps:
        kept = [step for step in steps if step["type"] != "Prepend" and step != _SPACE]
        content["normalizer"] = {"type": "Sequence", "normalizers": kept} if kept else None
        tokenizer.normalizer = Tokenizer.from_str(json.dumps(content)).normalizer or normalizers.Sequence([])
        tokenizer.pre_tokenizer = once
    elif splitter is not None and splitter["type"] == "Metaspace" and splitter["prepend_scheme"] == "always":
        once.split = splitter["split"]
        tokenizer.pre_tokenizer = once
