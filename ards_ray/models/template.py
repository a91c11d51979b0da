"""A checkpoint's own chat template, understood by what it makes of placeholders.

Templates are programs. What one writes around a conversation is found by rendering placeholders in the conversation's
shape; each conversation is then compared with what the template makes of its own texts.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, Literal

from ards_ray.corpus.conversation import IMAGE_TAG, Round
from ards_ray.errors import ConversationError, SettingsError
from ards_ray.models.prompt import PICTURE, AddedTokens, Piece

# Some templates write the day's date: a rerun would score another text.
TODAY = datetime(2024, 7, 26)
# Between private-use characters, which no template looks for and none trims, what one would change that quotes texts.
_PLACEHOLDER = re.compile('\ue000(\\d+)\n"\ue001')

# For each question its parts in their order: whether one is a picture, or a text.
Shape = tuple[tuple[bool, ...], ...]
# How a message holds its texts and pictures: as a list of parts, or as one text with the image token in it.
Content = Literal["parts", "text"]


class NotUnderstood(Exception):
    """A template does not take a conversation of some shape, or what it writes cannot be told apart."""


@dataclass(frozen=True)
class Slot:
    """The place of a text.

    Attributes:
        number: Which of the conversation's texts.
        answer: Whether it is an answer.
        line: Whether a picture stands before it, behind which the template itself begins a new line.
    """

    number: int
    answer: bool = False
    line: bool = field(default=False, compare=False)


def split_question(question: str) -> list[str | None]:
    """The parts of a question: its texts, and None for each image tag."""
    parts: list[str | None] = []
    for number, text in enumerate(question.split(IMAGE_TAG)):
        parts += [None] if number else []
        parts += [text] if text else []
    return parts or [""]


def read_template(folder: Path) -> tuple[str, Path] | None:
    """The chat template of a checkpoint and its file; None if it has none.

    Raises:
        SettingsError: a file that may hold one cannot be read.
    """
    file = folder / "chat_template.jinja"
    if file.is_file():
        return _text_of(file), file
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        file = folder / name
        found = _chat_template(file) if file.is_file() else None
        if found is not None:
            return found, file
    return None


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read ({error})") from error


def _chat_template(file: Path) -> str | None:
    """The template under `chat_template`; of several, which are a list of names and templates, the default."""
    try:
        content = json.loads(_text_of(file))
    except ValueError as error:
        raise SettingsError(f"{file}: not valid JSON ({error})") from error
    found = content.get("chat_template") if isinstance(content, dict) else None
    if isinstance(found, list):
        found = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
    if isinstance(found, dict):
        found = found.get("default")
        if found is None:
            raise SettingsError(f"{file}: several chat templates and none of them is named default")
    if found is not None and not isinstance(found, str):
        raise SettingsError(f"{file}: chat_template is no text")
    return found


class ChatTemplate:
    """The form of a checkpoint's chat template.

    Attributes:
        file: Where it stands.
        ends_answers: Whether it writes an added token of the tokenizer's behind answers, which ends them.

    Args:
        source: The template.
        file: Where it stands.
        tokenizer: The checkpoint's tokenizer.
        added: The tokenizer's added tokens.
        image: The image token as text.
        system: What the system says; None for what the template itself has it say, if anything.

    Raises:
        SettingsError: the template cannot be understood.
    """

    def __init__(
        self, source: str, file: Path, tokenizer: Any, added: AddedTokens, image: str, system: str | None = None
    ):
        self.file = file
        self._source = source
        self._tokenizer = tokenizer
        self._added = added
        self._image = image
        self._system = system
        self.ends_answers = True
        self._skeleton = lru_cache(1024)(self._understand)
        self._content: Content = "parts"
        problem = self._problem()
        if problem is not None:
            self._content = "text"
            as_text = self._problem()
            if as_text is not None:
                problem += "" if as_text == problem else f"; with messages as plain text: {as_text}"
                raise SettingsError(
                    f"{file}: the chat template cannot be understood: {problem}. "
                    "Write the template that the model was trained with into chat_template.jinja"
                )

    def with_system(self, system: str) -> "ChatTemplate":
        """The same template where the system says something else.

        Raises:
            SettingsError: the template cannot be understood so.
        """
        return ChatTemplate(self._source, self.file, self._tokenizer, self._added, self._image, system)

    @property
    def around(self) -> str:
        """What the template writes around the texts of a conversation of one round without pictures."""
        pieces = self._skeleton(((False,),), True)
        return " ".join(str(piece.text) for piece in pieces if isinstance(piece, Piece))

    @property
    def before(self) -> str:
        """What it writes before the first question's text."""
        first = self._skeleton(((False,),), True)[0]
        return str(first.text) if isinstance(first, Piece) else ""

    def conversation(self, rounds: Sequence[Round]) -> list[Piece]:
        """A conversation up to the end of its last answer.

        An answer's target is its text, and what is written behind it up to and with the first added token.

        Raises:
            ConversationError: the template does not take it, or rewrites its texts.
        """
        pieces = self._filled([split_question(round.question) for round in rounds], [round.answer for round in rounds])
        while not pieces[-1].target:
            pieces.pop()
        return pieces

    def opening(self, question: str) -> list[Piece]:
        """A question, up to where its answer begins.

        Raises:
            ConversationError: see `conversation`.
        """
        if self._begins_answers:
            return self._filled([split_question(question)], [])
        whole = self.conversation([Round(question, "A")])
        return whole[: next(place for place, piece in enumerate(whole) if piece.target)]

    def _problem(self) -> str | None:
        """Why the template cannot be understood in the shapes that every corpus has; None if it can."""
        text, picture = (False,), (True, False)
        try:
            for shape in ((text,), (picture,), (text, text), (picture, text)):
                self._understand(shape, True)
            for question in (text, picture):
                self._understand((question,), False)
            self._begins_answers = self._render((text,), ["?"], False, True) != self._render(
                (text,), ["?"], False, False
            )
        except NotUnderstood as error:
            return str(error)
        return None

    def _filled(self, questions: Sequence[Sequence[str | None]], answers: Sequence[str]) -> list[Piece]:
        # Templates that write all pictures of a question in front do no harm where white space alone is before one.
        fewer = [[part for part in parts if part is None or part.strip()] or [""] for parts in questions]
        try:
            try:
                return self._fill(questions, answers)
            except NotUnderstood:
                if fewer == questions:
                    raise
                return self._fill(fewer, answers)
        except NotUnderstood as error:
            raise ConversationError("the chat template does not take it", str(error)) from error

    def _fill(self, questions: Sequence[Sequence[str | None]], answers: Sequence[str]) -> list[Piece]:
        """The texts in their places, if that is what the template itself writes, perhaps without the space around some.

        Raises:
            NotUnderstood: the template does not take a conversation of this shape.
            ConversationError: the template writes something else.
        """
        shape = tuple(tuple(part is None for part in parts) for parts in questions)
        texts = list(_in_order(questions, answers))
        skeleton = self._skeleton(shape, bool(answers))
        for slot in skeleton:
            if isinstance(slot, Slot) and slot.line:
                texts[slot.number] = texts[slot.number].removeprefix("\n")
        rendered = self._render(shape, texts, bool(answers), opening=not answers)
        pieces: list[Piece] = []
        place = 0
        for number, one in enumerate(skeleton):
            if isinstance(one, Piece):
                piece = one
            else:
                behind = self._text_of(skeleton[number + 1]) if number + 1 < len(skeleton) else ""
                wanted = (text for text in _trimmed(texts[one.number]) if rendered.startswith(text + behind, place))
                piece = Piece(next(wanted, texts[one.number]), one.answer)
            pieces.append(piece)
            place += len(self._text_of(piece))
        if "".join(map(self._text_of, pieces)) != rendered:
            raise ConversationError("the chat template rewrites the text")
        return pieces

    def _text_of(self, piece: Piece | Slot) -> str:
        """How a piece is written; nothing where a text is still to come."""
        if isinstance(piece, Slot):
            return ""
        return self._image if piece.text is None else piece.text

    def _understand(self, shape: Shape, answered: bool) -> Sequence[Piece | Slot]:
        """What the template writes around the texts of conversations of a shape.

        Args:
            shape: The questions' parts.
            answered: Whether the questions have their answers; if not, the answer is about to begin.

        Raises:
            NotUnderstood: says why.
        """
        expected = list(_slots(shape, answered))
        slots = [one for one in expected if isinstance(one, Slot)]
        texts = [f'\ue000{slot.number}\n"\ue001' for slot in slots]
        rendered = self._render(shape, texts, answered, opening=not answered)
        if "'type'" in rendered:
            raise NotUnderstood("it takes no list of texts and pictures")
        literals = _PLACEHOLDER.split(rendered)
        if list(map(int, literals[1::2])) != list(range(len(slots))):
            raise NotUnderstood("it leaves out a text, repeats it or changes the order")
        pieces: list[Piece | Slot] = []
        for number, literal in enumerate(literals[0::2]):
            slot = slots[number - 1] if number else None
            if slot is not None:
                line = pieces[-2:-1] == [PICTURE] and str(getattr(pieces[-1], "text", "")).endswith("\n")
                pieces.append(replace(slot, line=line and not slot.answer))
            if slot is not None and slot.answer:
                end = self._added.end_of_first(literal.split(self._image)[0])
                self.ends_answers = self.ends_answers and end is not None
                pieces += [] if end is None else [Piece(literal[:end], target=True)]
                literal = literal[end or 0 :]
            for place, text in enumerate(literal.split(self._image)):
                pieces += [PICTURE] if place else []
                pieces += [Piece(text)] if text else []
        if [one for one in pieces if isinstance(one, Slot) or one == PICTURE] != expected:
            raise NotUnderstood(f"it leaves out a picture ({self._image}), repeats it or changes the order")
        return tuple(pieces)

    def _render(self, shape: Shape, texts: Sequence[str], answered: bool, opening: bool) -> str:
        """What the template makes of a conversation.

        Raises:
            NotUnderstood: it raises an error.
        """
        try:
            rendered: str = self._tokenizer.apply_chat_template(
                list(self._messages(shape, texts, answered)),
                chat_template=self._source,
                tokenize=False,
                add_generation_prompt=opening,
                date_string=TODAY.strftime("%d %b %Y"),
                strftime_now=TODAY.strftime,
            )
        except Exception as error:
            # A template is a program: it raises whatever it stumbles over.
            raise NotUnderstood(f"it fails ({type(error).__name__}: {error})") from error
        return rendered

    def _messages(self, shape: Shape, texts: Sequence[str], answered: bool) -> Iterator[dict[str, Any]]:
        waiting = iter(texts)
        if self._system is not None:
            yield self._message("system", [self._system])
        for question in shape:
            yield self._message("user", [None if picture else next(waiting) for picture in question])
            if answered:
                yield self._message("assistant", [next(waiting)])

    def _message(self, role: str, parts: Sequence[str | None]) -> dict[str, Any]:
        if self._content == "text":
            return {"role": role, "content": "".join(self._image if part is None else part for part in parts)}
        content = [{"type": "image"} if part is None else {"type": "text", "text": part} for part in parts]
        return {"role": role, "content": content}


def _trimmed(text: str) -> Iterator[str]:
    """A text, and what is left of it if a template trims it."""
    yield text
    for space in (None, "\n"):
        yield from (text.strip(space), text.lstrip(space), text.rstrip(space))


def _in_order(questions: Sequence[Sequence[str | None]], answers: Sequence[str]) -> Iterator[str]:
    """The texts of a conversation."""
    for number, parts in enumerate(questions):
        yield from (part for part in parts if part is not None)
        yield from answers[number : number + 1]


def _slots(shape: Shape, answered: bool) -> Iterator[Slot | Piece]:
    """The texts and pictures of a shape, in their order."""
    numbers = count()
    for question in shape:
        yield from (PICTURE if picture else Slot(next(numbers)) for picture in question)
        if answered:
            yield Slot(next(numbers), answer=True)
