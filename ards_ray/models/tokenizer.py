"""A checkpoint's tokenizer, with the ids that it was trained with."""

import json
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer
from tokenizers.normalizers import Prepend, Sequence
from tokenizers.pre_tokenizers import Metaspace
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ards_ray.errors import SettingsError


def load_tokenizer(folder: Path) -> Any:
    """The checkpoint's fast tokenizer.

    Raises:
        SettingsError: there is none.
    """
    _check_json(folder / "tokenizer_config.json")
    # As the file has it: under some class names the library makes it anew, with other splits than the file's.
    whole = (folder / "tokenizer.json").is_file()
    kind: Any = PreTrainedTokenizerFast if whole else AutoTokenizer
    try:
        tokenizer = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        # The library behind it raises plain exceptions.
        raise SettingsError(f"{folder}: the tokenizer cannot be loaded ({error})") from error
    if not tokenizer.is_fast:
        raise SettingsError(f"{folder}: no tokenizer.json here; save the checkpoint with its fast tokenizer")
    legacy = tokenizer.init_kwargs.get("legacy")
    if legacy is None and not whole:
        # Made from tokenizer.model: one that said nothing was a legacy one.
        legacy = True
    if legacy is not None:
        nowhere = not legacy and tokenizer.init_kwargs.get("add_prefix_space") is False
        _put_spaces(tokenizer.backend_tokenizer, "never" if nowhere else "always" if legacy else "first")
    return tokenizer


def _check_json(file: Path) -> None:
    try:
        json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: not valid JSON ({error})") from error


def _put_spaces(tokenizer: Tokenizer, scheme: Literal["always", "first", "never"]) -> None:
    """Have a Sentencepiece tokenizer put its leading space in front of a text and behind special tokens, in front of a
    text alone, or nowhere.

    LLaVA was trained with the tokenizer in Python, which heeds what the configuration says of `legacy`. A
    tokenizer.json of the older form cannot say it and puts the space everywhere: with `legacy: false` one token too
    many in `</s>USER`.
    """
    splitter, steps = tokenizer.pre_tokenizer, _steps(tokenizer.normalizer)
    if isinstance(splitter, Metaspace) and splitter.prepend_scheme != "never":
        tokenizer.pre_tokenizer = Metaspace(splitter.replacement, scheme, splitter.split)
    elif splitter is None and scheme != "always" and any(isinstance(step, Prepend) for step in steps):
        # What the splitter does by itself.
        kept = [step for step in steps if not isinstance(step, Prepend) and getattr(step, "content", "") != "▁"]
        tokenizer.normalizer = Sequence(kept) if kept else None
        tokenizer.pre_tokenizer = Metaspace("▁", scheme, split=False)


def _steps(normaliser: Any) -> list[Any]:
    if isinstance(normaliser, Sequence):
        return [normaliser[index] for index in range(len(normaliser))]
    return [] if normaliser is None else [normaliser]
