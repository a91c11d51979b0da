"""Which questions can be evaluated: every other one has a reason that is counted, none is silently wrong."""

from dataclasses import replace
from string import ascii_uppercase

import pytest

from ards_ray.errors import reason_of
from ards_ray.evaluation.images import ParquetImage
from ards_ray.evaluation.question import Question, problem_of

LETTERS = (ascii_uppercase,)
BOTH = (ascii_uppercase, "QWERTYU")
GOOD = Question("q", (), "", "Which?", ("cat", "dog", "cow"), 1)


def reason(question: Question, symbol_sets: tuple[str, ...] = BOTH) -> str | None:
    problem = problem_of(question, symbol_sets)
    return None if problem is None else reason_of(problem)


def options(*texts: str, gold: int = 0) -> Question:
    return replace(GOOD, options=texts, gold=gold)


def test_good_questions() -> None:
    """A reason for these would take them out of the accuracy."""
    assert reason(GOOD) is None
    assert reason(options("no", "yes")) is None
    assert reason(replace(GOOD, context="Look.", question="")) is None
    assert reason(replace(GOOD, options=(), gold=None, answer="red")) is None
    assert reason(options("a\nb", "c\nd")) is None


def test_gold_answers() -> None:
    """Without a gold answer every model is wrong; with one out of range the job would end after hours."""
    assert reason(replace(GOOD, gold=None)) == "no gold answer"
    assert reason(replace(GOOD, gold=3)) == "gold answer out of range"
    assert reason(replace(GOOD, gold=-1)) == "gold answer out of range"
    assert reason(replace(GOOD, options=(), gold=None, answer=" ")) == "no gold answer"


def test_options_that_repeat() -> None:
    """With the right text under two symbols a right answer counts as wrong. Two equal wrong ones do no harm."""
    assert reason(options("cat", "dog", "cat ", gold=0)) == "gold answer is an option twice"
    assert reason(options("cat", "dog", "cat", gold=1)) is None
    assert reason(options("Love,\nZoe", "love,\nZoe")) is None


def test_too_few_options() -> None:
    """A question with one option is always answered right."""
    assert reason(options()) == "fewer than two options"
    assert reason(options("cat")) == "fewer than two options"
    assert reason(options("cat", " ", gold=0)) == "empty option"


@pytest.mark.parametrize(
    "text",
    [
        *("A", "B", " C ", "A. cat", "(B) cat", "B) cat", "B.", "W", "W. E. B. Du Bois"),
        *("A.cat", "B: cat", "(B)cat", "B.3", "A。猫", "B、猫", "B：猫", "（B）猫"),
    ],
)
def test_options_that_read_as_symbols(text: str) -> None:
    """Whether `B` names the option B or the option whose text is B, nobody could tell."""
    assert reason(options("cat", text, "dog")) == "option reads as a symbol"


@pytest.mark.parametrize(
    "text", ["D", "U.S. history", "A cat", "a", "I", "Be", "S. aureus", "U. of X", "A.D. 1066", "B.C.", "Be: on"]
)
def test_options_that_only_look_like_symbols(text: str) -> None:
    """Letters that none of three options has as its symbol are no trouble; leaving them out changes the accuracy."""
    assert reason(options("cat", text, "dog")) is None


def test_only_symbols_in_use_matter() -> None:
    """Who asks for no symbol attack shall not lose questions to its symbols."""
    assert reason(options("cat", "W"), LETTERS) is None
    nine = options(*(f"text {number}" for number in range(9)))
    assert reason(nine, LETTERS) is None
    assert problem_of(nine, BOTH) == "more options than symbols: 9 options, 7 symbols"
    assert reason(options(*(f"text {number}" for number in range(27))), LETTERS) == "more options than symbols"


def test_options_that_name_others() -> None:
    """With other letters or in another order nobody could answer; as the benchmark has it, anybody can."""
    both = options("Circle", "Square", "Both A and B", "Neither", gold=2)
    assert problem_of(both, BOTH) == "option names other options by letter: Both A and B"
    assert reason(options("Whale", "Bat", "Trout", "A and B only")) == "option names other options by letter"
    assert reason(options("甲", "乙", "A和B都对", "以上都不对")) == "option names other options by letter"
    assert reason(options("one", "two", "All of the above")) is None
    assert reason(options("Vitamin A", "Vitamin B")) is None
    assert problem_of(both, LETTERS, attacked=False) is None


@pytest.mark.parametrize("tag", ["<video>", "<Image>", "<img>a.jpg</img>", "<image_1>", "<audio>", "<image 1>"])
def test_picture_tags_that_are_not_read(tag: str) -> None:
    """The question would be asked without what the tag stands for."""
    expected = f"picture tag that is not read: {tag.split('>')[0]}>"
    asked = (replace(GOOD, question=f"{tag} Which?"), replace(GOOD, context=tag), options("cat", tag))
    for question in (*asked, replace(asked[0], options=(), gold=None, answer="red")):
        assert problem_of(question, BOTH) == expected
    assert reason(replace(GOOD, question=f"What is `{tag}`?")) is None


def test_placeholders_of_images() -> None:
    """MMMU's `<image 2>` stands for the second image; without such an image it is a tag like others."""
    images = tuple(ParquetImage("a.parquet", column, 0) for column in ("image_1", "image_2"))
    question = replace(options("<image 2>", "cat"), question="Which is <image 1>?", images=images)
    assert reason(question) is None
    assert problem_of(replace(question, images=images[:1]), BOTH) == "picture tag that is not read: <image 2>"


def test_texts() -> None:
    """An image tag in the text would stand for an image that is not there; half a surrogate pair fits no table."""
    assert reason(replace(GOOD, question="What is <image>?")) == "image tag in the text"
    assert reason(options("cat", "<image>")) == "image tag in the text"
    assert reason(replace(GOOD, question=" ")) == "no question"
    assert reason(replace(GOOD, question="\ud800")) == "half a surrogate pair in the text"
