"""Prompts and label masks: those of the checkpoint's own chat template, or of the training that it hides."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ards_ray.corpus.conversation import Round
from ards_ray.errors import ConversationError, SettingsError
from ards_ray.models.forms import MISTRAL_INSTRUCT, QWEN_1_5, V1, Prompts
from ards_ray.models.tokenizer import load_tokenizer

ROUNDS = (Round("<image>\nWhat?", "So."), Round("And?", "Yes."))
V1_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
)
LLAMA_3_SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)
# How templates write the parts of a message: in their order, pictures first, or as a plain text.
PARTS = "{% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
PICTURES_FIRST = (
    "{% for c in m['content'] if c['type'] == 'image' %}IMAGE{% endfor %}"
    "{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] }}{% endfor %}"
)
TRIMMED = PARTS.replace("c['text']", "c['text'] | trim")
PLAIN = "{{ m['content'] }}"


def template(before: str, content: str, behind: str, opening: str, start: str = "", image: str = "<image>\n") -> str:
    """A chat template: what stands before and behind each message, with ROLE for its role, and where answers begin."""
    role = "{{ m['role'] }}"
    loop = f"{before}{content}{behind}".replace("IMAGE", image).replace("ROLE", role)
    return f"{start}{{% for m in messages %}}{loop}{{% endfor %}}{{% if add_generation_prompt %}}{opening}{{% endif %}}"


CHATML = ("<|im_start|>ROLE\n", "<|im_end|>\n", "<|im_start|>assistant\n")
LLAMA_3 = (
    "<|start_header_id|>ROLE<|end_header_id|>\n\n",
    "<|eot_id|>",
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
)
QWEN_START = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
)


@dataclass(frozen=True)
class Case:
    """A checkpoint: its family, added tokens and template; and what it must be asked, I standing for the picture.

    Attributes:
        family: Its `model_type`.
        tokens: The tokenizer's added tokens, the image token first.
        source: Its chat template.
        expected: The text of the rounds above; in angle quotes what is a target.
        opening: The text of the first question up to its answer, where that is not how `expected` begins.
    """

    family: str
    tokens: Sequence[str]
    source: str | None
    expected: str
    opening: str | None = None


LLAVA_TOKENS = ("<image>", "<s>", "</s>")
LLAMA_TOKENS = ("<image>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
CHATML_TOKENS = ("<image>", "<|im_start|>", "<|im_end|>")
V1_TEXT = f"<s>{V1_SYSTEM}USER: I\nWhat? ASSISTANT:‹ So.</s>›USER: And? ASSISTANT:‹ Yes.</s>›"
QWEN_TEXT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nI\nWhat?<|im_end|>\n"
    "<|im_start|>assistant\n‹So.<|im_end|>›\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n‹Yes.<|im_end|>›"
)
LLAMA_3_TEXT = (
    "<|start_header_id|>user<|end_header_id|>\n\nI\nWhat?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    "‹So.<|eot_id|>›<|start_header_id|>user<|end_header_id|>\n\nAnd?<|eot_id|><|start_header_id|>assistant"
    "<|end_header_id|>\n\n‹Yes.<|eot_id|>›"
)
USER_ASSISTANT = template("{{ m['role'] | upper }}: ", PICTURES_FIRST, " ", "ASSISTANT:")

CASES = {
    "LLaVA-1.5, converted": Case("llava", LLAVA_TOKENS, USER_ASSISTANT, V1_TEXT),
    "LLaVA-1.5, no template": Case("llava", LLAVA_TOKENS, None, V1_TEXT),
    "LLaVA-1.5 on Llama 3, its text model's template": Case(
        "llava",
        LLAMA_TOKENS,
        template(LLAMA_3[0], "{{ m['content'] | trim }}", *LLAMA_3[1:], start="{{ bos_token }}"),
        f"<|begin_of_text|>{LLAMA_3_TEXT}",
    ),
    "LLaVA-1.5 on Qwen, ChatML": Case(
        "llava", CHATML_TOKENS, template(CHATML[0], PLAIN, *CHATML[1:], start=QWEN_START), QWEN_TEXT
    ),
    "LLaVA-NeXT on Vicuna, converted": Case("llava_next", LLAVA_TOKENS, USER_ASSISTANT, V1_TEXT),
    "LLaVA-NeXT on Mistral, converted": Case(
        "llava_next",
        LLAVA_TOKENS,
        "{% for m in messages %}{% if m['role'] == 'user' %}[INST] PARTS [/INST]{% else %} PARTS</s>"
        "{% endif %}{% endfor %}".replace("PARTS", PARTS.replace("IMAGE", "<image>\n")),
        "<s>[INST] I\nWhat? [/INST]‹ So. </s>›[INST] And? [/INST]‹ Yes. </s>›",
    ),
    "LLaVA-NeXT on Llama 3": Case(
        "llava_next",
        LLAMA_TOKENS,
        template(LLAMA_3[0], PICTURES_FIRST, *LLAMA_3[1:]),
        f"<|start_header_id|>system<|end_header_id|>\n\n{LLAMA_3_SYSTEM}<|eot_id|>{LLAMA_3_TEXT}",
    ),
    "LLaVA-NeXT on Yi": Case(
        "llava_next",
        CHATML_TOKENS,
        template(CHATML[0], PICTURES_FIRST, "<|im_end|>", CHATML[2]),
        "<|im_start|>system\nAnswer the questions.<|im_end|>"
        + QWEN_TEXT.partition("<|im_end|>\n")[2].replace("<|im_end|>\n", "<|im_end|>").replace("›\n", "›"),
    ),
    "LLaVA-NeXT on Qwen, converted": Case(
        "llava_next", CHATML_TOKENS, template("<|im_start|>ROLE \n", PICTURES_FIRST, *CHATML[1:]), QWEN_TEXT
    ),
    "LLaVA-NeXT on Qwen, its own template": Case(
        "llava_next", CHATML_TOKENS, template(CHATML[0], PARTS, *CHATML[1:], start=QWEN_START), QWEN_TEXT
    ),
    "Qwen2.5-VL": Case(
        "qwen2_5_vl",
        ("<|image_pad|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
        template(CHATML[0], PARTS, *CHATML[1:], start=QWEN_START, image="<|vision_start|><|image_pad|><|vision_end|>"),
        QWEN_TEXT.replace("I\n", "<|vision_start|>I<|vision_end|>\n"),
    ),
    "turns that are trimmed, another name for the assistant": Case(
        "qwen2_5_vl",
        ("<soft>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        template(
            "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n",
            TRIMMED,
            "<end_of_turn>\n",
            "<start_of_turn>model\n",
            start="{{ bos_token }}",
            image="<soft>",
        ),
        "<bos><start_of_turn>user\nIWhat?<end_of_turn>\n<start_of_turn>model\n‹So.<end_of_turn>›\n"
        "<start_of_turn>user\nAnd?<end_of_turn>\n<start_of_turn>model\n‹Yes.<end_of_turn>›",
    ),
    "roles as words, the end token that is no role's": Case(
        "qwen2_5_vl",
        ("<image>", "<end_of_utterance>"),
        template("{{ m['role'] | capitalize }}:", PARTS, "<end_of_utterance>\n", "Assistant:", image="<image>"),
        "User:I\nWhat?<end_of_utterance>\nAssistant:‹So.<end_of_utterance>›\nUser:And?<end_of_utterance>\n"
        "Assistant:‹Yes.<end_of_utterance>›",
    ),
    "a thinking model": Case(
        "qwen2_5_vl",
        CHATML_TOKENS,
        template(
            CHATML[0] + "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}",
            "{% if m['role'] == 'assistant' %}{{ m['content'].split('</think>')[-1] }}{% else %}"
            "{{ m['content'] }}{% endif %}",
            CHATML[1],
            CHATML[2] + "<think>\n",
        ),
        "<|im_start|>user\nI\nWhat?<|im_end|>\n<|im_start|>assistant\n‹So.<|im_end|>›\n<|im_start|>user\nAnd?<|im_end|>"
        "\n<|im_start|>assistant\n<think>\n\n</think>\n\n‹Yes.<|im_end|>›",
        opening="<|im_start|>user\nI\nWhat?<|im_end|>\n<|im_start|>assistant\n<think>\n",
    ),
    "the day's date": Case(
        "qwen2_5_vl",
        LLAMA_TOKENS,
        template(
            LLAMA_3[0],
            PARTS,
            *LLAMA_3[1:],
            start="{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
            "Today: {{ date_string }}, {{ strftime_now('%Y') }}.",
            image="<image>",
        ),
        f"Today: 26 Jul 2024, 2024.{LLAMA_3_TEXT}",
    ),
    "no words for the beginning of an answer": Case(
        "qwen2_5_vl",
        ("<image>", "<|user|>", "<|assistant|>", "<|end|>"),
        template("<|{{ m['role'] }}|>\n", PLAIN, "<|end|>\n", ""),
        "<|user|>\nI\nWhat?<|end|>\n<|assistant|>\n‹So.<|end|>›\n<|user|>\nAnd?<|end|>\n<|assistant|>\n‹Yes.<|end|>›",
    ),
}


def tokenizer_of(tokens: Sequence[str]) -> Any:
    """A tokenizer of bytes with some added tokens, the image token first; `<s>` and the like begin a sequence."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={character: id for id, character in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, normalized=False) for token in tokens])
    bos = next((token for token in tokens if token in ("<s>", "<bos>", "<|begin_of_text|>")), None)
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=bos)


def prompts_of(folder: Path, family: str, tokens: Sequence[str], source: str | None) -> tuple[Prompts, Any]:
    if source is not None:
        (folder / "chat_template.jinja").write_text(source)
    tokenizer = tokenizer_of(tokens)
    image = tokenizer.convert_tokens_to_ids(tokens[0])
    own = {"llava": V1, "llava_next": MISTRAL_INSTRUCT, "qwen2_5_vl": QWEN_1_5}[family]
    return Prompts(folder, family, tokenizer, image, own), tokenizer


@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_is_asked_as_it_was_trained(name: str, tmp_path: Path) -> None:
    """Under another model's prompt every loss and every answer is that of text which the model has never seen."""
    case = CASES[name]
    prompts, tokenizer = prompts_of(tmp_path, case.family, case.tokens, case.source)
    image = tokenizer.convert_tokens_to_ids(case.tokens[0])
    ids, targets = prompts.encode(ROUNDS, [image] * 3, 4096)
    text, spoken = "", False
    for id, target in zip(ids.tolist(), targets.tolist(), strict=True):
        text += ("‹" if target else "›") * (target != spoken) + tokenizer.convert_ids_to_tokens(id)
        spoken = target
    readable = text.replace(case.tokens[0] * 3, "I").replace("Ġ", " ").replace("Ċ", "\n") + "›"
    assert readable == case.expected
    asked = prompts.encode_question(ROUNDS[0].question, [[image] * 3])
    opening = "".join(tokenizer.convert_ids_to_tokens(asked.tolist())).replace(case.tokens[0] * 3, "I")
    begins = case.expected.partition("‹")[0] if case.opening is None else case.opening
    assert opening.replace("Ġ", " ").replace("Ċ", "\n") == begins
    assert prompts.end == ids[-1]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.family == "qwen2_5_vl"])
def test_the_prompt_is_the_librarys(name: str, tmp_path: Path) -> None:
    """A rendering of ours that differs by a space is another prompt; trainers use the library's."""
    case = CASES[name]
    prompts, tokenizer = prompts_of(tmp_path, case.family, case.tokens, case.source)
    rounds = (Round("Tell me of  kites.", "They\nfly."), Round("Of what?", "Paper"), Round("é漢", "🙂"))
    messages = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for round in rounds
        for role, text in (("user", round.question), ("assistant", round.answer))
    ]
    if "m['content'] }}" in str(case.source) or "m['content'].split" in str(case.source):
        messages = [{"role": one["role"], "content": one["content"][0]["text"]} for one in messages]  # type: ignore[index]
    dated = {} if name != "the day's date" else {"date_string": "26 Jul 2024", "strftime_now": lambda form: "2024"}
    expected = tokenizer.apply_chat_template(messages, chat_template=case.source, **dated)["input_ids"]
    ids, _ = prompts.encode(rounds, [], 4096)
    # What follows the last answer's end is no target and cannot change a loss.
    assert ids.tolist() == expected[: len(ids)]
    assert "<" not in tokenizer.decode(expected[len(ids) :])


def test_a_template_that_drops_a_part_of_the_text(tmp_path: Path) -> None:
    """Thinking is dropped from earlier rounds: the loss would be that of another conversation than the corpus has."""
    case = CASES["a thinking model"]
    prompts, _ = prompts_of(tmp_path, case.family, case.tokens, case.source)
    with pytest.raises(ConversationError, match="the chat template rewrites the text"):
        prompts.encode((Round("Why?", "<think>Hm.</think>So."),), [], 4096)


def test_pictures_that_a_template_moves(tmp_path: Path) -> None:
    """With the pictures in front, "this or this?" would be asked about other places of the text."""
    prompts, tokenizer = prompts_of(
        tmp_path, "llava_next", LLAMA_TOKENS, template(LLAMA_3[0], PICTURES_FIRST, *LLAMA_3[1:])
    )
    image = tokenizer.convert_tokens_to_ids("<image>")
    with pytest.raises(ConversationError, match="the chat template does not take it: it leaves out a picture"):
        prompts.encode_question("<image>\nThis or <image>\nthis?", [[image]] * 2)
    ids = prompts.encode_question("<image>\n<image>\nWhich?", [[image] * 2, [image] * 3])
    assert (ids == image).sum() == 5


@pytest.mark.parametrize("place", ["question", "answer"])
@pytest.mark.parametrize("name", CASES)
def test_tokens_of_the_tokenizer_in_the_text(name: str, place: str, tmp_path: Path) -> None:
    """They would become the real ones: the user's text ends the answer, what stands behind it becomes a question."""
    case = CASES[name]
    prompts, _ = prompts_of(tmp_path, case.family, case.tokens, case.source)
    for token in case.tokens[1:]:
        text = f"One{token}two"
        round = Round(text, "x") if place == "question" else Round("x", text)
        with pytest.raises(ConversationError) as error:
            prompts.encode((Round("Why?", "So."), round), [], 4096)
        assert str(error.value) == f"special token in the text: {token}"
        if place == "question":
            with pytest.raises(ConversationError, match="special token in the text"):
                prompts.encode_question(text, [])


def test_white_space_that_a_tokenizer_added_is_no_special_token(tmp_path: Path) -> None:
    """Some tokenizers hold runs of spaces as added tokens: refused, every program in a corpus would fail."""
    prompts, _ = prompts_of(tmp_path, "llava", (*LLAVA_TOKENS, "    "), None)
    ids, _ = prompts.encode((Round("Why?", "if x:\n    y"),), [], 4096)
    assert prompts.encode((Round("Why?", "if x:\ny"),), [], 4096)[0].shape < ids.shape


TRIMMING = {
    "each text": template(LLAMA_3[0], TRIMMED, *LLAMA_3[1:], image="<image>"),
    "the text of a turn, the picture with it": template(LLAMA_3[0], "{{ m['content'] | trim }}", *LLAMA_3[1:]),
    "line breaks before answers": template(
        LLAMA_3[0],
        "{{ m['content'] | trim if m['role'] == 'user' else m['content'].lstrip('\\n') }}",
        *LLAMA_3[1:],
    ),
}


@pytest.mark.parametrize("name", TRIMMING)
def test_texts_that_a_template_trims(name: str, tmp_path: Path) -> None:
    """Corpora are full of spaces at the ends of turns: refused, a good part of one would fail."""
    prompts, tokenizer = prompts_of(tmp_path, "qwen2_5_vl", LLAMA_TOKENS, TRIMMING[name])
    image = tokenizer.convert_tokens_to_ids("<image>")
    ids, targets = prompts.encode((Round("<image>\nWhat? ", "\nSo."), Round(" And?\n", "\nYes.")), [image], 4096)
    text = tokenizer.decode(ids)
    break_behind_picture = "" if name == "each text" else "\n"
    assert f"<image>{break_behind_picture}What?<|eot_id|>" in text
    assert "\n\nAnd?<|eot_id|>" in text
    assert tokenizer.decode(ids[targets]) == "So.<|eot_id|>Yes.<|eot_id|>"


BROKEN = {
    "it quotes texts": (
        template(CHATML[0], "{{ m['content'] | tojson }}", *CHATML[1:]),
        "it leaves out a text, repeats it or changes the order",
    ),
    "nothing ends an answer": (template("{{ m['role'] }}: ", PARTS, "\n", "assistant: "), "no special token behind"),
    "the last answer alone is not ended": (
        template(CHATML[0], PARTS, "{% if not loop.last %}<|im_end|>{% endif %}", CHATML[2]),
        "no special token behind",
    ),
    "it is no template": ("{% for m in messages %}", "cannot be understood: it fails"),
    "it raises": ("{{ raise_exception('no') }}", "cannot be understood: it fails"),
    "it leaves out the answers": (
        "{% for m in messages if m['role'] == 'user' %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}",
        "it leaves out a text",
    ),
    "it leaves out the pictures": (
        template(CHATML[0], "{% for c in m['content'] %}{{ c['text'] }}{% endfor %}", *CHATML[1:]),
        "it leaves out a picture",
    ),
    "it says everything twice": (
        template(CHATML[0], PARTS + PARTS, *CHATML[1:]),
        "it leaves out a text, repeats it or changes the order",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_templates_that_cannot_be_understood(name: str, tmp_path: Path) -> None:
    """A guess would be another model's prompt for the whole corpus; said before any work, with the file."""
    source, message = BROKEN[name]
    with pytest.raises(SettingsError, match=message) as error:
        prompts_of(tmp_path, "llava_next", CHATML_TOKENS, source)
    assert str(tmp_path / "chat_template.jinja") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_checkpoint_without_a_template_and_without_its_familys_tokens(tmp_path: Path) -> None:
    """A LLaVA on Llama 3 whose template was lost was not trained with Vicuna's prompt."""
    with pytest.raises(SettingsError, match="the tokenizer has no </s>, so the model was not trained with"):
        prompts_of(tmp_path, "llava", LLAMA_TOKENS, None)


@pytest.mark.parametrize("file", ["chat_template.json", "processor_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("several", [False, True])
def test_where_a_template_stands(file: str, several: bool, tmp_path: Path) -> None:
    """Overlooked, the checkpoint would be scored under its family's usual prompt."""
    case = CASES["LLaVA-1.5 on Qwen, ChatML"]
    listed = [{"name": "tool_use", "template": "{{ x }}"}, {"name": "default", "template": case.source}]
    (tmp_path / file).write_text(json.dumps({"chat_template": listed if several else case.source}))
    prompts, tokenizer = prompts_of(tmp_path, "llava", CHATML_TOKENS, None)
    ids, _ = prompts.encode((Round("Why?", "So."),), [], 4096)
    assert tokenizer.decode(ids).startswith("<|im_start|>system")


FORMS = ("normaliser", "splitter, always", "splitter, first")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("legacy", [True, False, None])
@pytest.mark.parametrize("kind", ["LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast"])
def test_the_space_in_front_of_a_text(
    form: str, legacy: bool | None, kind: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """LLaVA-1.5 was trained with `legacy: false`, where no space is put behind `</s>`; files of an older form put one
    there, and the library rebuilds tokenizers that say nothing as if they were the newer ones: one token more or less
    after each answer."""
    content = json.loads((checkpoints["llama"] / "tokenizer.json").read_text())
    if form == "normaliser":
        space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        content["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, space]}
        content["pre_tokenizer"] = None
    else:
        content["pre_tokenizer"]["prepend_scheme"] = form.split()[1]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    config = json.loads((checkpoints["llama"] / "tokenizer_config.json").read_text()) | {"tokenizer_class": kind}
    del config["legacy"]
    config |= {} if legacy is None else {"legacy": legacy}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    pieces = load_tokenizer(tmp_path).tokenize("Yes</s>USER: No")
    everywhere = form != "splitter, first" if legacy is None else legacy
    assert pieces[0].startswith("▁")
    assert pieces[pieces.index("</s>") + 1].startswith("▁") == everywhere
    assert "".join(pieces) == f"▁Yes</s>{'▁' if everywhere else ''}USER:▁No"


def test_a_tokenizer_without_any_leading_space(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """Models on Yi were trained so; with the space every text would begin with a token that none of theirs has."""
    content = json.loads((checkpoints["llama"] / "tokenizer.json").read_text())
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    content["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, space]}
    content["pre_tokenizer"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    config = json.loads((checkpoints["llama"] / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"legacy": False, "add_prefix_space": False}))
    assert "".join(load_tokenizer(tmp_path).tokenize("Yes</s>USER: No")) == "Yes</s>USER:▁No"


def test_a_broken_configuration_of_the_tokenizer(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """Among a dozen files of a checkpoint one wants to know which."""
    (tmp_path / "tokenizer.json").write_text((checkpoints["llama"] / "tokenizer.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(SettingsError, match=r"tokenizer_config.json: not valid JSON"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_under_another_ones_name(tmp_path: Path) -> None:
    """Checkpoints on Llama 3 say LlamaTokenizer, whose splits the library would put in place of the file's."""
    tokenizer_of(LLAMA_TOKENS).save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_class": "LlamaTokenizer"}))
    assert load_tokenizer(tmp_path).tokenize("a  b\nc") == list("aĠĠbĊc")
