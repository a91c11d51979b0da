"""The text of a question: rendered last, from options in any order under any symbols."""

from collections.abc import Sequence
from dataclasses import dataclass

from ards_ray.corpus.conversation import IMAGE_TAG
from ards_ray.corruption.permutation import Order
from ards_ray.evaluation.question import Question

_LETTER = "Answer with the option's letter from the given choices directly."


@dataclass(frozen=True)
class Style:
    """How a benchmark's questions are written.

    Attributes:
        instruction: What stands after the options.
        option: Template of an option's line.
    """

    instruction: str
    option: str = "{symbol}. {text}"


# LLaVA's scripts for ScienceQA, SEED-Bench and MMBench, and its training prompts for A-OKVQA.
LETTER = Style(_LETTER)
LETTER_CN = Style("请直接回答选项字母。")
# MMMU's own script for LLaVA: options in parentheses, and an empty line after them.
MMMU = Style("\n" + _LETTER, option="({symbol}) {text}")
# LLaVA's script for GQA.
PHRASE = Style("Answer the question using a single word or phrase.")


def render(question: Question, style: Style, order: Order, symbols: Sequence[str]) -> str:
    """What the user says: a line `<image>` for each image, context, question, options, instruction.

    Args:
        question: The question.
        style: How it is written.
        order: Place i gets the option `order[i]`.
        symbols: Symbol of each place.
    """
    options = (
        style.option.format(symbol=symbol, text=question.options[index])
        for symbol, index in zip(symbols, order, strict=True)
    )
    parts = (*(IMAGE_TAG for _ in question.images), question.context, question.question, *options, style.instruction)
    return "\n".join(part for part in parts if part)
