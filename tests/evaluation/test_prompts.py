"""The text of questions: as LLaVA's scripts write it, whatever the options hold."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from ards_ray.evaluation.images import FileImage
from ards_ray.evaluation.prompts import LETTER, LETTER_CN, MMMU, PHRASE, render
from ards_ray.evaluation.question import Question

QUESTION = Question("q", (FileImage("a.png"),), "Context: On a farm.", "Which?", ("cat", "dog", "cow"), 1)
LINES = st.text(st.characters(blacklist_characters="\n"), min_size=1)


def test_letters() -> None:
    """Another suffix or line break gives other answers than the published evaluation."""
    assert render(QUESTION, LETTER, (0, 1, 2), "ABC") == (
        "<image>\nContext: On a farm.\nWhich?\nA. cat\nB. dog\nC. cow\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert render(QUESTION, LETTER_CN, (2, 0, 1), "QWE") == (
        "<image>\nContext: On a farm.\nWhich?\nQ. cow\nW. cat\nE. dog\n请直接回答选项字母。"
    )


def test_mmmu_as_its_script_for_llava() -> None:
    """MMMU writes options in parentheses and leaves a line empty behind them."""
    question = Question("q", (FileImage("a"), FileImage("b")), "", "<image 1> or <image 2>?", ("<image 2>", "no"), 0)
    assert render(question, MMMU, (1, 0), "AB") == (
        "<image>\n<image>\n<image 1> or <image 2>?\n(A) no\n(B) <image 2>\n\n"
        "Answer with the option's letter from the given choices directly."
    )


def test_free_answers() -> None:
    """GQA's suffix asks for a word; without it the model answers in a sentence, which never matches."""
    question = Question("q", (FileImage("a.jpg"),), "", "What colour?", (), None, "red")
    assert render(question, PHRASE, (), ()) == (
        "<image>\nWhat colour?\nAnswer the question using a single word or phrase."
    )


def test_no_image_no_context() -> None:
    """A line for an image that is not there would shift the whole prompt."""
    question = Question("q", (), "", "Which?", ("a", "b"), 0)
    assert render(question, LETTER, (0, 1), "AB").startswith("Which?\nA. a\nB. b\n")


@given(st.lists(LINES, min_size=2, max_size=4), st.data())
def test_options_are_never_rewritten(options: list[str], data: st.DataObject) -> None:
    """The reference edits the rendered text and so changes letters inside options, or loses one of two equal ones."""
    count = len(options)
    order = data.draw(st.sampled_from(list(permutations(range(count)))))
    question = Question("q", (), "", "Which?", tuple(options), 0)
    lines = render(question, LETTER, order, "QWER"[:count]).split("\n")
    assert lines[1:-1] == [f"{'QWER'[place]}. {options[order[place]]}" for place in range(count)]
