"""The form in which a checkpoint was trained: what stands around texts and pictures, and what the model is to say.

That is its own chat template, but where converters are known to have left another one: the literals that the template
writes tell which. A checkpoint without a template has its family's own form.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ards_ray.corpus.conversation import Round
from ards_ray.errors import SettingsError
from ards_ray.models.prompt import PICTURE, AddedTokens, Piece, Tokenisation, cut
from ards_ray.models.template import ChatTemplate, read_template, split_question


class Form(Protocol):
    """How a conversation is written."""

    def conversation(self, rounds: Sequence[Round]) -> list[Piece]:
        """A conversation, its answers' targets marked.

        Raises:
            ConversationError: it cannot be written so.
        """

    def opening(self, question: str) -> list[Piece]:
        """A question, up to where its answer begins.

        Raises:
            ConversationError: it cannot be written so.
        """


@dataclass(frozen=True)
class WrittenForm:
    """A form that is known by heart.

    Attributes:
        system: What stands in front of the first round.
        user: What stands before a question.
        assistant: What stands between a question and its answer, and is no target.
        lead: The beginning of each answer, a target.
        end: The end of each answer, a target.
        between: What stands between rounds.
        picture: What stands before and behind a picture.
        tokens: Tokens that a tokenizer must have for it.
        bos: Whether the tokenizer's beginning-of-sequence token stands in front.
    """

    system: str
    user: str
    assistant: str
    lead: str
    end: str
    between: str = ""
    picture: tuple[str, str] = ("", "")
    tokens: tuple[str, ...] = ("</s>",)
    bos: bool = True

    def conversation(self, rounds: Sequence[Round]) -> list[Piece]:
        """See `Form.conversation`."""
        pieces = [Piece(self.system)]
        for number, round in enumerate(rounds):
            pieces.append(Piece(f"{self.between if number else ''}{self.user}"))
            for part in split_question(round.question):
                before, behind = self.picture
                pieces += [Piece(before), PICTURE, Piece(behind)] if part is None else [Piece(part)]
            pieces += [Piece(self.assistant), Piece(f"{self.lead}{round.answer}{self.end}", target=True)]
        return pieces

    def opening(self, question: str) -> list[Piece]:
        """See `Form.opening`."""
        return self.conversation([Round(question, "")])[:-1]


# LLaVA's conversation templates (`llava/conversation.py`), by their names there.
V1 = WrittenForm(
    system="A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. ",
    user="USER: ",
    assistant=" ASSISTANT:",
    lead=" ",
    end="</s>",
)
MISTRAL_INSTRUCT = WrittenForm(system="", user="[INST] ", assistant=" [/INST]", lead=" ", end=" </s>")
QWEN_1_5 = WrittenForm(
    system="<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n",
    user="<|im_start|>user\n",
    assistant="<|im_end|>\n<|im_start|>assistant\n",
    lead="",
    end="<|im_end|>",
    between="\n",
    tokens=("<|im_start|>", "<|im_end|>"),
    bos=False,
)
LLAVA_LLAMA_3_SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)
CHATML_DIRECT_SYSTEM = "Answer the questions."
LLAVA_FAMILIES = ("llava", "llava_next")


def trained_form(template: ChatTemplate, added: AddedTokens, family: str) -> Form:
    """The form that a LLaVA checkpoint was trained with, if its template is one that converters wrote; else its own.

    Args:
        template: The checkpoint's chat template.
        added: Its tokenizer's added tokens.
        family: Its `model_type`.
    """
    written = template.around
    if "USER:" in written and "</s>" in added:
        return V1
    # Converted with a space behind the role, where Qwen has a new line.
    if "<|im_start|>user " in written:
        return QWEN_1_5
    if family != "llava_next":
        return template
    if "[INST]" in written and "</s>" in added:
        return MISTRAL_INSTRUCT
    if "system" not in template.before:
        # The converters left out what the system says.
        if "<|start_header_id|>" in written:
            return template.with_system(LLAVA_LLAMA_3_SYSTEM)
        if "<|im_start|>" in written:
            return template.with_system(CHATML_DIRECT_SYSTEM)
    return template


class Prompts:
    """The one way in which a checkpoint's prompts and label masks are made.

    Attributes:
        end: The id that ends an answer.

    Args:
        folder: The checkpoint.
        family: Its `model_type`.
        tokenizer: Its tokenizer.
        image_token: The id that stands for a position of a picture.
        own: The family's own form, for a checkpoint without a chat template.

    Raises:
        SettingsError: the chat template cannot be understood, or the tokenizer lacks tokens of the form.
    """

    def __init__(self, folder: Path, family: str, tokenizer: Any, image_token: int, own: WrittenForm):
        self._added = AddedTokens(tokenizer)
        self._form = self._form_of(folder, family, tokenizer, image_token, own)
        self._tokens = Tokenisation(
            tokenizer, _start_of(self._form, tokenizer), None if family in LLAVA_FAMILIES else image_token
        )
        ids, targets = self.encode([Round("?", "A")], (), 1 << 20)
        self.end = int(ids[targets][-1])

    def _form_of(self, folder: Path, family: str, tokenizer: Any, image_token: int, own: WrittenForm) -> Form:
        form: Form = own
        found = read_template(folder)
        if found is not None:
            image = tokenizer.convert_ids_to_tokens(image_token)
            if image is None:
                raise SettingsError(
                    f"{folder}: the tokenizer has no token {image_token}, the image token of config.json"
                )
            template = ChatTemplate(*found, tokenizer, self._added, image)
            form = trained_form(template, self._added, family) if family in LLAVA_FAMILIES else template
        if isinstance(form, WrittenForm):
            _check_tokens(form, tokenizer, self._added, folder)
        elif isinstance(form, ChatTemplate) and not form.ends_answers:
            raise SettingsError(
                f"{form.file}: the chat template writes no special token behind an answer, so nothing tells where it "
                "ends; write the template that the model was trained with into chat_template.jinja"
            )
        return form

    def encode(self, rounds: Sequence[Round], picture: Sequence[int], limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids int32 and targets bool [positions] of a conversation, cut after `limit`.

        Args:
            rounds: The conversation.
            picture: The ids that stand for its picture.
            limit: Longest sequence.

        Raises:
            ConversationError: a text holds a special token, the form does not take it, or no target is left.
        """
        for round in rounds:
            self._added.refuse([*split_question(round.question), round.answer])
        pieces = self._form.conversation(rounds)
        return cut(*self._tokens.encode(pieces, [picture] * pieces.count(PICTURE)), limit)

    def encode_question(self, question: str, pictures: Sequence[Sequence[int]]) -> np.ndarray:
        """Token ids int32 [positions] of a question up to where its answer begins.

        Args:
            question: The question, with an image tag for each picture.
            pictures: For each picture the ids that stand for it.

        Raises:
            ConversationError: the text holds a special token, or the form does not take it.
        """
        self._added.refuse(split_question(question))
        return self._tokens.encode(self._form.opening(question), pictures)[0]


def _check_tokens(form: WrittenForm, tokenizer: Any, added: AddedTokens, folder: Path) -> None:
    """Refuse a family's own form for a tokenizer that it was not made for.

    Raises:
        SettingsError: names the tokens that are missing.
    """
    missing = [token for token in form.tokens if token not in added]
    if form.bos and tokenizer.bos_token_id is None:
        missing.append("beginning-of-sequence token")
    if missing:
        raise SettingsError(
            f"{folder}: the tokenizer has no {', '.join(missing)}, so the model was not trained with the prompt of its "
            "family; write the chat template that it was trained with into chat_template.jinja"
        )


def _start_of(form: Form, tokenizer: Any) -> Sequence[int]:
    """The ids in front of a prompt: those that the tokenizer itself puts there, unless the form writes them."""
    if isinstance(form, WrittenForm):
        return [tokenizer.bos_token_id] if form.bos else []
    first = form.opening("?")[0].text or ""
    if tokenizer.bos_token is not None and first.startswith(tokenizer.bos_token):
        return []
    plain, whole = tokenizer("?", add_special_tokens=False)["input_ids"], tokenizer("?")["input_ids"]
    places = [place for place in range(len(whole)) if whole[place : place + len(plain)] == plain]
    return whole[: places[0]] if places else []
