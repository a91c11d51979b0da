"""The conversation: what a corpus record says, checked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ards_ray.corpus.media import IMAGE_KEY, is_nothing, unread_key, unread_tag
from ards_ray.corpus.text import is_unicode
from ards_ray.errors import ConversationError

IMAGE_TAG = "<image>"


@dataclass(frozen=True)
class Round:
    """A question and its answer. A question that shows the only image starts with `<image>`."""

    question: str
    answer: str


@dataclass(frozen=True)
class Conversation:
    """A conversation that can be scored: at least one round, and as many images as its questions show."""

    row: int
    format: str
    images: tuple[str, ...]
    rounds: tuple[Round, ...]


def images_of(record: Any, embedded: Sequence[str] = ()) -> tuple[str, ...]:
    """The images of a corpus record: their paths, a string or a list, or the names of embedded ones.

    Args:
        record: The record.
        embedded: Names of the images that are embedded in its row.

    Raises:
        ConversationError: it is something else, or the record holds pictures, video or audio under a key that is not
            read.
    """
    if not isinstance(record, dict):
        return tuple(embedded)
    images = tuple(embedded) or _paths_of(record.get(IMAGE_KEY))
    key = unread_key(record, images)
    if key is not None:
        raise ConversationError("pictures under a key that is not read", key)
    return images


def _paths_of(value: Any) -> tuple[str, ...]:
    images = [one for one in (value if isinstance(value, list) else [value]) if not is_nothing(one)]
    for image in images:
        if not isinstance(image, str):
            raise ConversationError("image is not a path", type(image).__name__)
    return tuple(images)


def check_single(images: Sequence[str]) -> None:
    """Check that a conversation has one image at most, which is what the model families can show.

    Raises:
        ConversationError: it has several.
    """
    if len(images) > 1:
        raise ConversationError("several images", f"{len(images)} in one conversation")


def check_tags(question: str) -> None:
    """Check that a question shows pictures by no other tag than `<image>`.

    Raises:
        ConversationError: it does; names the tag.
    """
    tag = unread_tag(question.replace(IMAGE_TAG, "")) if "<" in question else None
    if tag is not None:
        raise ConversationError("picture tag that is not read", tag)


def normalise_turn(text: str) -> str:
    """Put the image tag, wherever it stands in the turn, in front on a line of its own."""
    if IMAGE_TAG not in text:
        return text
    return f"{IMAGE_TAG}\n{text.replace(IMAGE_TAG, '').strip()}".strip()


def turns_of(record: Any) -> list[tuple[str, str]]:
    """The turns of a record as (speaker, text); a leading answer without a question is left out, as LLaVA does.

    Raises:
        ConversationError: the record is no object, or its turns are malformed.
    """
    if not isinstance(record, dict):
        raise ConversationError("not an object", type(record).__name__)
    turns = record.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise ConversationError("no conversation", "the key 'conversations' must hold a list of turns")
    checked = []
    for index, turn in enumerate(turns):
        text = turn.get("value") if isinstance(turn, dict) else None
        if not isinstance(text, str):
            raise ConversationError("malformed turn", f"turn {index + 1} has no text under 'value'")
        speaker = turn.get("from")
        if speaker not in ("human", "gpt"):
            raise ConversationError("unknown speaker", f"turn {index + 1} is from {speaker!r}")
        if not text.isascii() and not is_unicode(text):
            raise ConversationError("text is not Unicode", f"turn {index + 1} has half of a surrogate pair")
        checked.append((speaker, text))
    return checked[1:] if checked[0][0] == "gpt" else checked


def parse_conversation(row: int, format: str, images: Sequence[str], record: str) -> Conversation:
    """Check a record of the corpus and bring its turns into rounds.

    Args:
        row: Position in the corpus.
        format: Its format (`formats.format_of`).
        images: Paths under the image folder or `file#row`, as in the conversations table.
        record: The original JSON text.

    Raises:
        ConversationError: the conversation cannot be scored; says why.
    """
    try:
        content = json.loads(record)
    except RecursionError as error:
        # How deep is too deep depends on the caller's stack: the reader may have got through.
        raise ConversationError("nested too deeply") from error
    turns = turns_of(content)
    images = images_of(content, images)
    if not any(speaker == "human" for speaker, _ in turns):
        raise ConversationError("no human turn")
    for index, (speaker, _) in enumerate(turns):
        if speaker != ("human", "gpt")[index % 2]:
            raise ConversationError("turns do not alternate", f"two turns in a row are from {speaker!r}")
    if len(turns) % 2:
        raise ConversationError("no answer", "the last question is not answered")
    asked = [text for _, text in turns[0::2]]
    # Of several images, each is shown where its tag stands.
    questions = asked if len(images) > 1 else [normalise_turn(text) for text in asked]
    answers = [text for _, text in turns[1::2]]
    for question in questions:
        check_tags(question)
    for index, answer in enumerate(answers):
        if not answer.strip():
            raise ConversationError("empty answer", f"round {index + 1}")
        if IMAGE_TAG in answer:
            raise ConversationError("image tag in an answer", f"round {index + 1}")
    # Where a tag stood inside of a tag, taking it out makes another: both forms are counted.
    tags = sum(
        max(text.count(IMAGE_TAG), question.count(IMAGE_TAG)) for text, question in zip(asked, questions, strict=True)
    )
    if tags > max(1, len(images)):
        raise ConversationError("several image tags", f"{tags}, {'one image' if len(images) < 2 else len(images)}")
    if tags and not images:
        raise ConversationError("image tag without an image")
    if tags < len(images):
        raise ConversationError("image without an image tag")
    rounds = tuple(Round(*pair) for pair in zip(questions, answers, strict=True))
    return Conversation(row, format, images, rounds)
