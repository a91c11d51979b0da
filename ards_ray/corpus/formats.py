"""Answer formats, told by the first question's text."""

from typing import Any

from ards_ray.corpus.choice import parse_choice
from ards_ray.corpus.conversation import check_tags, normalise_turn, turns_of
from ards_ray.errors import ConversationError

FORMATS = ("phrase", "choice", "caption", "region", "box", "image", "text")

# First match wins, so the order is part of the rule.
_INSTRUCTIONS = (
    ("phrase", "answer the question using a single word or phrase."),
    ("choice", "answer with the option's letter from the given choices directly."),
    ("caption", "provide a one-sentence caption for the provided image"),
    ("region", "provide a short description for this region"),
    ("box", "provide the bounding box coordinate of the region this sentence describes"),
)


def format_of(record: Any, has_image: bool) -> str:
    """The format of a corpus record; a malformed record is `image` or `text`, one with a picture's tag `image`."""
    plain = "image" if has_image else "text"
    try:
        turns = turns_of(record)
    except ConversationError:
        return plain
    questions = [text for speaker, text in turns if speaker == "human"]
    answers = [text for speaker, text in turns if speaker == "gpt"]
    if not questions:
        return plain
    lowered = questions[0].lower()
    for name, instruction in _INSTRUCTIONS:
        if instruction in lowered:
            return name
    if answers and parse_choice(normalise_turn(questions[0]), answers[0]) is not None:
        return "choice"
    if not has_image:
        try:
            for question in questions:
                check_tags(question)
        except ConversationError:
            return "image"
    return plain
