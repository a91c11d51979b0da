"""Which option an answer names. An answer that names none, or several, is wrong; nothing is guessed."""

import re
from collections.abc import Callable, Mapping, Sequence

Matcher = Callable[[str, Sequence[str]], str | None]


def strict(answer: str, symbols: Sequence[str]) -> str | None:
    """The symbol that the answer consists of, or None.

    As the permutation attack of ARDS matches (`model_vqa_science_option_attack.py`): nothing but the symbol counts.
    """
    text = answer.strip()
    return text if text in tuple(symbols) else None


def lenient(answer: str, symbols: Sequence[str]) -> str | None:
    """The symbol that the answer consists of, starts with as a label, or calls the answer; None if not just one.

    Accepts `X`, `X.` and `(X)`, with or without text after the last two, and `The answer is X`.
    """
    text = answer.strip()
    if text in tuple(symbols):
        return text
    symbol = "|".join(re.escape(symbol) for symbol in symbols)
    # Behind a Chinese full stop no space is needed.
    label = rf"(?:\(({symbol})\)(?=\s|\.|$)|({symbol})(?:。|\.(?=\s|\.|$)))"
    named = _found(rf"\b(?i:the answer is):?\s+\(?({symbol})\)?(?=[.,:;!]?(?:\s*$|\s*\n)|[.,:;!]\s)", text)
    if not named and re.match(label, text) is None:
        return None
    # A label on a later line names nothing; beside another one it shows that the options are only repeated.
    found = {*named, *_found(rf"^{label}", text)}
    return found.pop() if len(found) == 1 else None


def _found(pattern: str, text: str) -> list[str]:
    return [next(filter(None, match.groups())) for match in re.finditer(pattern, text, re.MULTILINE)]


MATCHERS: Mapping[str, Matcher] = {"strict": strict, "lenient": lenient}


def normalise(answer: str) -> str:
    """A free answer as it is compared: in lower case, without full stops at the end.

    As LLaVA prepares answers for GQA's exact match (`convert_gqa_for_eval.py`).
    """
    return answer.strip().rstrip(".").lower()
