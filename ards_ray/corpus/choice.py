"""Multiple-choice questions: parsed into stem, options and instruction, changed there, rendered last."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase

# A letter without a text counts as an option, so that rendering, which puts a space there, tells it is none.
_OPTION = re.compile(r"([A-Z])\.(?: (.*))?")


@dataclass(frozen=True)
class Choice:
    """A multiple-choice round.

    Attributes:
        stem: Lines before the options.
        options: Texts of the options, in order.
        instruction: Lines after the options.
        gold: Index of the right option.
        symbols: Symbol of each option, in order.
    """

    stem: tuple[str, ...]
    options: tuple[str, ...]
    instruction: tuple[str, ...]
    gold: int
    symbols: str

    @property
    def question(self) -> str:
        options = (f"{symbol}. {text}" for symbol, text in zip(self.symbols, self.options, strict=True))
        return "\n".join((*self.stem, *options, *self.instruction))

    @property
    def answer(self) -> str:
        return self.symbols[self.gold]

    def permuted(self, order: Sequence[int]) -> "Choice":
        """The option texts in another order under the same symbols: place i gets the text of place `order[i]`."""
        return replace(self, options=tuple(self.options[index] for index in order), gold=list(order).index(self.gold))

    def with_symbols(self, symbols: str) -> "Choice":
        """The same options under other symbols, of which there must be enough."""
        return replace(self, symbols=symbols[: len(self.options)])


def parse_choice(question: str, answer: str) -> Choice | None:
    """Parse a normalised round, or None where it is not multiple choice.

    The options are the last lines that look like options: two or more in a row, in alphabetical order from A,
    with nothing after them but instruction lines.
    """
    lines = question.split("\n")
    matches = [_OPTION.fullmatch(line) for line in lines]
    last = next((index for index in reversed(range(len(lines))) if matches[index]), -1)
    letters = [match[1] if match else "" for match in matches]
    first = last
    while first > 0 and letters[first] != "A" and letters[first - 1] == _before(letters[first]):
        first -= 1
    count = last - first + 1
    symbols = ascii_uppercase[:count]
    if last < 0 or count < 2 or "".join(letters[first : last + 1]) != symbols:
        return None
    if len(answer) != 1 or answer not in symbols:
        return None
    parsed = Choice(
        stem=tuple(lines[:first]),
        options=tuple(match[2] or "" for match in matches[first : last + 1] if match),
        instruction=tuple(lines[last + 1 :]),
        gold=symbols.index(answer),
        symbols=symbols,
    )
    return parsed if parsed.question == question else None


def _before(letter: str) -> str:
    return chr(ord(letter) - 1)
