"""A checkpoint's tokenizer, with the ids that it was trained with."""

from pathlib import Path
from typing import Any

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
        _put_spaces(tokenizer.backend_tokenizer, everywhere=bool(legacy))
    return tokenizer


def _put_spaces(tokenizer: Tokenizer, everywhere: bool) -> None:
    """Have a Sentencepiece tokenizer put its leading space in front of a text, and behind special tokens or not there.

    LLaVA was trained with the tokenizer in Python, which heeds what the configuration says of `legacy`. A
    tokenizer.json of the older form cannot say it and puts the space everywhere: with `legacy: false` one token too
    many in `</s>USER`.
    """
    splitter, steps = tokenizer.pre_tokenizer, _steps(tokenizer.normalizer)
    scheme = "always" if everywhere else "first"
    if isinstance(splitter, Metaspace) and splitter.prepend_scheme != "never":
        tokenizer.pre_tokenizer = Metaspace(splitter.replacement, scheme, splitter.split)
    elif splitter is None and not everywhere and any(isinstance(step, Prepend) for step in steps):
        # What the splitter does by itself.
        kept = [step for step in steps if not isinstance(step, Prepend) and getattr(step, "content", "") != "▁"]
        tokenizer.normalizer = Sequence(kept) if kept else None
        tokenizer.pre_tokenizer = Metaspace("▁", scheme, split=False)


def _steps(normaliser: Any) -> list[Any]:
    if isinstance(normaliser, Sequence):
        return [normaliser[index] for index in range(len(normaliser))]
    return [] if normaliser is None else [normaliser]
