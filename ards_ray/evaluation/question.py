"""The question: what a benchmark asks, with its options apart, and whether it can be evaluated."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ards_ray.corpus.conversation import IMAGE_TAG
from ards_ray.corpus.media import unread_tag
from ards_ray.corpus.options import naming_others
from ards_ray.corpus.text import is_unicode
from ards_ray.evaluation.images import FileImage, ImageSource, ParquetImage


@dataclass(frozen=True)
class Question:
    """A question of a benchmark.

    Attributes:
        id: Its id, unique within the benchmark.
        images: Its images, in the order in which the text speaks of them.
        context: What stands before the question on lines of its own; empty if nothing does.
        question: The question itself.
        options: Texts of the options without symbols, in the benchmark's order; none for a free answer.
        gold: Index of the right option; None if the benchmark does not tell, and for a free answer.
        answer: The right free answer, empty if the benchmark does not tell; None where there are options.
    """

    id: str
    images: tuple[ImageSource, ...]
    context: str
    question: str
    options: tuple[str, ...]
    gold: int | None
    answer: str | None = None


@dataclass(frozen=True)
class NotEvaluated:
    """A question that is not evaluated. The error is `reason` or `reason: detail` and is counted by reason."""

    id: str
    error: str


def problem_of(question: Question, symbol_sets: Sequence[Sequence[str]], attacked: bool = True) -> str | None:
    """Why a question cannot be evaluated, as `reason` or `reason: detail`; None if it can.

    Wrong options that repeat do no harm, because the gold answer is followed by its place and not by its text. An
    option that reads as a symbol does: nobody could tell whether an answer names the option or its place.

    Args:
        question: The question.
        symbol_sets: The sets of symbols that its options get, one set at a time.
        attacked: Whether the options get other symbols or places than the benchmark's.
    """
    texts = (question.context, question.question, *question.options)
    if any(IMAGE_TAG in text for text in texts):
        return "image tag in the text"
    tag = next(filter(None, (unread_tag(_without_placeholders(text, question.images)) for text in texts)), None)
    if tag is not None:
        return f"picture tag that is not read: {tag}"
    files = (image.path for image in question.images if isinstance(image, FileImage))
    if not all(map(is_unicode, (question.id, question.answer or "", *texts, *files))):
        return "half a surrogate pair in the text"
    if not question.context.strip() and not question.question.strip():
        return "no question"
    if question.answer is not None:
        return None if question.answer.strip() else "no gold answer"
    return _choice_problem(question, symbol_sets, attacked)


def _without_placeholders(text: str, images: Sequence[ImageSource]) -> str:
    """A text without MMMU's `<image 2>` for the images that the question has."""
    for image in images:
        if isinstance(image, ParquetImage):
            text = text.replace(f"<{image.column.replace('_', ' ')}>", "")
    return text


def _choice_problem(question: Question, symbol_sets: Sequence[Sequence[str]], attacked: bool) -> str | None:
    options = [text.strip() for text in question.options]
    count = len(options)
    if count < 2:
        return f"fewer than two options: {count}"
    if "" in options:
        return f"empty option: number {options.index('') + 1} of {count}"
    if question.gold is None:
        return "no gold answer"
    if not 0 <= question.gold < count:
        return f"gold answer out of range: index {question.gold}, {count} options"
    if options.count(options[question.gold]) > 1:
        return f"gold answer is an option twice: {options[question.gold]}"
    for symbols in symbol_sets:
        if count > len(symbols):
            return f"more options than symbols: {count} options, {len(symbols)} symbols"
        for text in options:
            if _reads_as_symbol(text, tuple(symbols[:count])):
                return f"option reads as a symbol: {text}"
    naming = naming_others(options) if attacked else None
    return None if naming is None else f"option names other options by letter: {naming}"


def _reads_as_symbol(text: str, symbols: tuple[str, ...]) -> bool:
    """Whether an option is a symbol, or starts with one as a label: `A.`, `A:`, `A)`, `(A)`, in Chinese marks too.

    An abbreviation, such as A.D. or U.S., is no label.
    """
    symbol = "|".join(map(re.escape, symbols))
    label = rf"(?:[(（](?:{symbol})[)）]|(?:{symbol})[.:)。．、：）])(?![A-Za-z]\.)"
    return text in symbols or re.match(label, text) is not None
