"""Formats: they decide which attack a conversation gets and which subgroups it can be in."""

from typing import Any

import pytest

from ards_ray.corpus.formats import FORMATS, format_of

SENTENCES = {
    "phrase": "Answer the question using a single word or phrase.",
    "choice": "Answer with the option's letter from the given choices directly.",
    "caption": "Provide a one-sentence caption for the provided image.",
    "region": "Provide a short description for this region.",
    "box": "Provide the bounding box coordinate of the region this sentence describes.",
}


def record(question: str, answer: str = "A") -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}


@pytest.mark.parametrize(("name", "sentence"), SENTENCES.items())
@pytest.mark.parametrize("has_image", [True, False])
def test_sentence_gives_the_format(name: str, sentence: str, has_image: bool) -> None:
    """Each format has its own subgroups: one sentence missed, and a tenth of LLaVA-665K is in the wrong ones."""
    assert name in FORMATS
    assert format_of(record(f"<image>\nWhat?\n{sentence}"), has_image) == name
    assert format_of(record(f"{sentence.upper()} What?\n<image>"), has_image) == name
    assert format_of(record(f"What?\n{sentence[:-2]}"), has_image) in ("image", "text", "caption", "region", "box")


def test_first_match_wins() -> None:
    """The order is the reference's: another gives other subgroups."""
    assert format_of(record(f"{SENTENCES['choice']} {SENTENCES['phrase']}"), True) == "phrase"
    assert format_of(record(f"{SENTENCES['box']} {SENTENCES['region']}"), True) == "region"


def test_only_the_first_question_counts() -> None:
    """Conversations mix questions; the reference looks at the first."""
    turns = record("<image>\nWhat?")["conversations"] + record(SENTENCES["phrase"])["conversations"]
    assert format_of({"conversations": turns}, True) == "image"
    answer_first = [{"from": "gpt", "value": "Hello"}, *record(SENTENCES["phrase"])["conversations"]]
    assert format_of({"conversations": answer_first}, True) == "phrase"


def test_multiple_choice_without_the_sentence() -> None:
    """ScienceQA's own files have no instruction."""
    assert format_of(record("Which?\nA. x\nB. y", "B"), False) == "choice"
    assert format_of(record("A. x\nB. y\n<image>", "B"), True) == "choice"
    assert format_of(record("Which?\nA. x\nB. y", "C"), False) == "text"
    assert format_of(record("Which?\nA. x\nB. y", "B. y"), True) == "image"
    question = record("Which?\nA. x\nB. y")["conversations"][:1]
    assert format_of({"conversations": question}, True) == "image"


@pytest.mark.parametrize(
    "broken", [None, 1, "x", [], {}, {"conversations": []}, {"conversations": [1]}, {"conversations": [{"from": "x"}]}]
)
def test_malformed_records_have_a_format(broken: Any) -> None:
    """Every row of the conversations table has one; these fail later, with a reason."""
    assert format_of(broken, True) == "image"
    assert format_of(broken, False) == "text"
