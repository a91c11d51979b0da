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
    label = rf"(?:\((?:{symbol})\)(?=\s|\.|$)|(?:{symbol})(?:。|\.(?=\s|\.|$)))"
    sentence = rf"\b(?i:the answer is):?\s+\(?(?:{symbol})\)?(?=[.,:;!]?(?:\s*$|\s*\n)|[.,:;!]\s)"
    if re.match(label, text) is None and re.search(sentence, text) is None:
        return None
    # A label on a later line, or in parentheses anywhere, names nothing by itself; beside another one it shows that the
    # options are only repeated or weighed. So does one of a list: `A, B`, `A. or B.`
    one = rf"\(?(?:{symbol})\)?(?=[.,:;!。]|\s*$)"
    list_of = rf"(?:[\s.,:;!。]*(?:(?:(?:or|and)\s|[/&])\s*)?{one})*"
    naming = re.finditer(rf"(?:^{label}|{sentence}){list_of}|\((?:{symbol})\)", text, re.MULTILINE)
    found = {name for match in naming for name in re.findall(rf"(?<!\w)(?:{symbol})(?!\w)", match[0])}
    return found.pop() if len(found) == 1 else None


MATCHERS: Mapping[str, Matcher] = {"strict": strict, "lenient": lenient}


def normalise(answer: str) -> str:
    """A free answer as it is compared: in lower case, without full stops at the end.

    As LLaVA prepares answers for GQA's exact match (`convert_gqa_for_eval.py`).
    """
    return answer.strip().rstrip(".").lower()
