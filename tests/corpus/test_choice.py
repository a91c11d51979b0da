"""Multiple choice: parsed exactly or not at all, since attacks are built from the parts and rendered again."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ards_ray.corpus.choice import Choice, parse_choice

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
INSTRUCTION = "Answer with the option's letter from the given choices directly."

lines = st.text(st.characters(exclude_characters="\n"), max_size=12)
# What breaks parsers that edit text: letters, options within options, nothing, spaces.
tricky = st.one_of(lines, st.sampled_from(["", " ", "A", "B", "A. x", "B. ", "A. A. ", ". ", "C.", "\r", "\u2028"]))
plain = lines.filter(lambda line: not any(line.startswith(f"{letter}. ") for letter in LETTERS))


@st.composite
def choices(draw: st.DrawFn, after: st.SearchStrategy[str] = plain) -> Choice:
    options = draw(st.lists(tricky, min_size=2, max_size=26))
    return Choice(
        stem=tuple(draw(st.lists(tricky, max_size=3))),
        options=tuple(options),
        instruction=tuple(draw(st.lists(after, max_size=2))),
        gold=draw(st.integers(0, len(options) - 1)),
        symbols=LETTERS[: len(options)],
    )


@given(choices())
@example(Choice((), ("", ""), (), 0, "AB"))
@example(Choice(("A. x", "B. y"), ("A", "A"), ("",), 1, "AB"))
def test_what_is_rendered_parses_back_to_itself(choice: Choice) -> None:
    """An option lost or an answer moved would attack a question that nobody asked, and count it as a weakness."""
    assert parse_choice(choice.question, choice.answer) == choice


@given(choices(after=tricky), st.sampled_from(LETTERS))
def test_what_is_parsed_renders_the_text(choice: Choice, answer: str) -> None:
    """Whatever the lines after the options look like: the clean conversation is the corpus's own, byte for byte."""
    parsed = parse_choice(choice.question, answer)
    if parsed is not None:
        assert (parsed.question, parsed.answer) == (choice.question, answer)
        assert len(parsed.options) >= 2


@given(choices(), st.data())
def test_permutation_keeps_the_answers_text(choice: Choice, data: st.DataObject) -> None:
    """If the gold option did not follow its text, the attack would teach wrong answers; duplicates make that easy."""
    order = data.draw(st.permutations(range(len(choice.options))))
    permuted = choice.permuted(order)
    assert permuted.options[permuted.gold] == choice.options[choice.gold]
    assert order[permuted.gold] == choice.gold
    assert sorted(permuted.options) == sorted(choice.options)
    assert (permuted.stem, permuted.instruction, permuted.symbols) == (choice.stem, choice.instruction, choice.symbols)
    back = [order.index(place) for place in range(len(order))]
    assert permuted.permuted(back) == choice
    assert parse_choice(permuted.question, permuted.answer) == permuted


def test_symbols_change_in_options_and_answer_alone() -> None:
    """Letters in the texts are words, not symbols."""
    choice = parse_choice(f"<image>\nIs A. right?\nA. A\nB. B. A\nC. C\n{INSTRUCTION}", "B")
    assert choice is not None
    attacked = choice.with_symbols("QWERTYU")
    assert attacked.question == f"<image>\nIs A. right?\nQ. A\nW. B. A\nE. C\n{INSTRUCTION}"
    assert attacked.answer == "W"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Q?\nA. x\nB. y", "C"),
        ("Q?\nA. x\nB. y", "a"),
        ("Q?\nA. x\nB. y", "A. x"),
        ("Q?\nA. x\nB. y", "A\n"),
        ("Q?\nA. x\nB. y", "AB"),
        ("Q?\nA. x\nB. y", ""),
        ("Q?\nA. x", "A"),
        ("Q?\nB. x\nC. y", "B"),
        ("Q?\nA. x\nC. y", "A"),
        ("Q?\nB. x\nA. y", "A"),
        ("Q?\nA. x\n\nB. y", "A"),
        ("Q?\nA. x\nB. y\nB. z", "A"),
        ("Q?\nA. x\nmore\nB. y", "A"),
        ("Q? A. x B. y", "A"),
        ("Q?\nA.x\nB.y", "A"),
        ("Q?\n(A) x\n(B) y", "A"),
        ("Q?\n A. x\n B. y", "A"),
        ("", "A"),
    ],
)
def test_what_is_no_multiple_choice_is_left_alone(question: str, answer: str) -> None:
    """A guess would corrupt a conversation into nonsense, and nonsense has the largest loss gap of all."""
    assert parse_choice(question, answer) is None


def test_only_the_last_options_count() -> None:
    """A stem may quote other options."""
    choice = parse_choice("As in\nA. one\nB. two\nwhich?\nA. x\nB. y\nDo answer.", "A")
    assert choice == Choice(("As in", "A. one", "B. two", "which?"), ("x", "y"), ("Do answer.",), 0, "AB")
    adjacent = parse_choice("A. one\nB. two\nA. x\nB. y", "B")
    assert adjacent == Choice(("A. one", "B. two"), ("x", "y"), (), 1, "AB")
