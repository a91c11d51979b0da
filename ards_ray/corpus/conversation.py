"""The conversation: what a corpus record says, checked."""

import json
from dataclasses import dataclass
from typing import Any

from ards_ray.corpus.media import IMAGE_KEY, is_nothing, unread_key, unread_tag
from ards_ray.corpus.text import is_unicode
from ards_ray.errors import ConversationError

IMAGE_TAG = "<image>"


@dataclass(frozen=True)
class Round:
    """A question and its answer. The question that holds the image starts with `<image>`."""

    question: str
    answer: str


@dataclass(frozen=True)
class Conversation:
    """A conversation that can be scored: at least one round, and an image exactly if one question shows it."""

    row: int
    format: str
    image: str | None
    rounds: tuple[Round, ...]


def image_of(record: Any, embedded: str | None = None) -> str | None:
    """The image of a corpus record: its path, a string or a list of one, or the name of an embedded one.

    Args:
        record: The record.
        embedded: Name of the image that is embedded in its row.

    Raises:
        ConversationError: it is something else, several images for instance, or the record holds pictures, video or
            audio under a key that is not read.
    """
    if not isinstance(record, dict):
        return embedded
    image = embedded or _path_of(record.get(IMAGE_KEY))
    key = unread_key(record, image)
    if key is not None:
        raise ConversationError("pictures under a key that is not read", key)
    return image


def _path_of(image: Any) -> str | None:
    if isinstance(image, list):
        images = [one for one in image if not is_nothing(one)]
        if len(images) > 1:
            raise ConversationError("several images", f"{len(images)} in one conversation")
        image = images[0] if images else None
    if is_nothing(image):
        return None
    if not isinstance(image, str):
        raise ConversationError("image is not a path", type(image).__name__)
    return image


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


def parse_conversation(row: int, format: str, image: str | None, record: str) -> Conversation:
    """Check a record of the corpus and bring its turns into rounds.

    Args:
        row: Position in the corpus.
        format: Its format (`formats.format_of`).
        image: Path under the image folder or `file#row`, as in the conversations table.
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
    image = image_of(content, image)
    if not any(speaker == "human" for speaker, _ in turns):
        raise ConversationError("no human turn")
    for index, (speaker, _) in enumerate(turns):
        if speaker != ("human", "gpt")[index % 2]:
            raise ConversationError("turns do not alternate", f"two turns in a row are from {speaker!r}")
    if len(turns) % 2:
        raise ConversationError("no answer", "the last question is not answered")
    questions = [normalise_turn(text) for _, text in turns[0::2]]
    answers = [text for _, text in turns[1::2]]
    for question in questions:
        check_tags(question)
    for index, answer in enumerate(answers):
        if not answer.strip():
            raise ConversationError("empty answer", f"round {index + 1}")
        if IMAGE_TAG in answer:
            raise ConversationError("image tag in an answer", f"round {index + 1}")
    # Where a tag stood inside of a tag, taking it out makes another: both forms are counted.
    asked = (text for _, text in turns[0::2])
    tags = sum(
        max(text.count(IMAGE_TAG), question.count(IMAGE_TAG)) for text, question in zip(asked, questions, strict=True)
    )
    if tags > 1:
        raise ConversationError("several image tags", f"{tags}, one image")
    if tags and image is None:
        raise ConversationError("image tag without an image")
    if image is not None and not tags:
        raise ConversationError("image without an image tag")
    rounds = tuple(Round(*pair) for pair in zip(questions, answers, strict=True))
    return Conversation(row, format, image, rounds)
