"""Matching: an answer names one option or is wrong; nothing is guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ards_ray.evaluation.matching import MATCHERS, lenient, normalise, strict

SYMBOLS = ("A", "B", "C", "D")


@pytest.mark.parametrize("answer", ["B", " B", "B\n"])
def test_the_symbol_alone(answer: str) -> None:
    """Spaces around the symbol come from the tokenizer and are no answer of another kind."""
    assert strict(answer, SYMBOLS) == lenient(answer, SYMBOLS) == "B"


@pytest.mark.parametrize("answer", ["", "b", "AB", "B.", "(B)", "E", "B. dog", "dog", "The answer is B", "ABCD", "B B"])
def test_strict_takes_nothing_else(answer: str) -> None:
    """As the paper's attack code: whoever compares with its numbers needs its rule."""
    assert strict(answer, SYMBOLS) is None
    assert strict(answer, "ABCD") is None


@pytest.mark.parametrize(
    "answer",
    [
        "B.",
        "(B)",
        "(B).",
        "B. dog",
        "(B) dog",
        "B。",
        "B。狗",
        "B.\ndog",
        "The answer is B",
        "The answer is B.",
        "the answer is: B",
        "The answer is (B).",
        "The answer is (B), the dog",
        "It barks. The answer is B.",
        "The answer is B. A cat would meow.",
        "B. dog\nThe answer is B.",
        "The answer is B\nbecause it barks",
        "B. A dog",
        "B. B. King",
        "B. dog, not A cat",
        "The answer is (B). (B) barks.",
    ],
)
def test_lenient_takes_labels_and_sentences(answer: str) -> None:
    """Models that are trained to explain answer so; the strict rule would call all of them wrong."""
    assert lenient(answer, SYMBOLS) == "B"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "A cat",
        "Because",
        "B dog",
        "B.dog",
        "I do not know",
        "The answer is A dog",
        "The answer is Bob.",
        "The answer is dog",
        "A. cat\nB. dog\nC. cow",
        "The answer is A. No, the answer is B.",
        "A. cat\nThe answer is B.",
        "E.",
        "(E) dog",
        "Let me see.\nB. dog",
        "A or B",
        "(A), (B)",
        "(A)(B)",
        "A。猫\nB。狗",
        "A。B。",
        "(A) (B)",
        "(A) or (B)",
        "A. or B.",
        "A. B. C. D.",
        "A. and B",
        "(B) is wrong, so (C)",
        "The answer is A, B",
        "The answer is A. B. C.",
        "The answer is (A) or (B).",
    ],
)
def test_lenient_does_not_guess(answer: str) -> None:
    """A guess that is right by luck in one order out of 24 makes the worst case look better than the model is."""
    assert lenient(answer, SYMBOLS) is None


def test_symbols_that_hold_one_another_or_are_patterns() -> None:
    """`i` is not `ii`, and a symbol is text and no pattern."""
    roman = ("i", "ii", "iii", "iv")
    assert lenient("ii. dog", roman) == "ii"
    assert lenient("The answer is iii.", roman) == "iii"
    assert strict("ii", roman) == "ii"
    assert lenient("(*)", ("*", "+")) == "*"
    assert lenient("x.", (".", "+")) is None


@given(st.text(), st.sampled_from(list(MATCHERS)))
def test_only_symbols_are_parsed(answer: str, name: str) -> None:
    """A parsed answer that is no symbol would count as an answer to an option that is not there."""
    assert MATCHERS[name](answer, SYMBOLS) in (*SYMBOLS, None)


@given(st.text())
def test_lenient_takes_all_that_strict_takes(answer: str) -> None:
    """Otherwise the lenient accuracy could be the lower one."""
    if strict(answer, SYMBOLS) is not None:
        assert lenient(answer, SYMBOLS) == strict(answer, SYMBOLS)


def test_free_answers() -> None:
    """GQA's exact match is over lower case without a full stop: `Red.` is right where `red` is."""
    assert normalise(" Red.\n") == "red"
    assert normalise("Fire hydrant..") == "fire hydrant"
    assert normalise("no. 5") == "no. 5"
