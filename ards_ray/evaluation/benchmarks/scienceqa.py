"""ScienceQA (Lu et al., arXiv 2209.09513): the authors' files, or LLaVA's conversations of them."""

import re
from collections.abc import Callable, Iterator
from string import ascii_uppercase
from typing import Any

from ards_ray.corpus.conversation import IMAGE_TAG, check_single, check_tags, images_of, turns_of
from ards_ray.errors import ConversationError, CorpusError
from ards_ray.evaluation.benchmarks.files import (
    Loaded,
    find_file,
    identified,
    index_of,
    letter_index,
    questions_of,
    read_json,
    text_of,
    texts_of,
)
from ards_ray.evaluation.images import FileImage
from ards_ray.evaluation.prompts import LETTER
from ards_ray.evaluation.question import Question
from ards_ray.storage.location import Location

_PROBLEMS, _SPLITS = "problems.json", "pid_splits.json"
_SPLIT = "test"
_OPTION = re.compile(r"^([A-Z])\. ", re.MULTILINE)


def read_scienceqa(path: str) -> Loaded:
    """The questions of the test split.

    Args:
        path: Folder with `problems.json` and `pid_splits.json` (images `test/{id}/image.png`), or with LLaVA's
            `llava_test_CQM-A.json`, or such a file (images `{id}/image.png`).

    Raises:
        SettingsError: a file is missing or broken.
    """
    return _read(path, lambda record: True)


def read_scienceqa_img(path: str) -> Loaded:
    """ScienceQA-IMG: the questions of the test split that have an image. Arguments and errors as `read_scienceqa`."""
    return _read(path, lambda record: not isinstance(record, dict) or bool(record.get("image")))


def read_scienceqa_text(path: str) -> Loaded:
    """The questions of the test split that have no image. Arguments and errors as `read_scienceqa`."""
    return _read(path, lambda record: not isinstance(record, dict) or not record.get("image"))


def _read(path: str, wanted: Callable[[Any], bool]) -> Loaded:
    file = find_file(path, _PROBLEMS, "llava_test_CQM-A.json")
    content = read_json(file)
    build: Callable[[str, Any], Question]
    if isinstance(content, list):
        records, build = identified(content, "id"), _of_conversation
    elif isinstance(content, dict):
        records, build = _of_split(file, content), _of_problem
    else:
        raise CorpusError(f"{file.url}: neither ScienceQA's problems nor LLaVA's conversations")
    yield from questions_of(((id, record) for id, record in records if wanted(record)), build)


def _of_split(file: Location, problems: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    splits_file = find_file(file.url.rsplit("/", 1)[0], _SPLITS)
    splits = read_json(splits_file)
    ids = splits.get(_SPLIT) if isinstance(splits, dict) else None
    if not isinstance(ids, list):
        raise CorpusError(f"{splits_file.url}: no list of ids under {_SPLIT!r}")
    for id in map(str, ids):
        yield id, problems.get(id)


def _of_problem(id: str, problem: dict[str, Any]) -> Question:
    hint = text_of(problem, "hint", "")
    image = text_of(problem, "image", "")
    return Question(
        id=id,
        images=(FileImage(f"{_SPLIT}/{id}/{image}"),) if image else (),
        context=f"Context: {hint}" if hint else "",
        question=text_of(problem, "question"),
        options=texts_of(problem, "choices"),
        gold=index_of(problem, "answer"),
    )


def _of_conversation(id: str, record: dict[str, Any]) -> Question:
    turns = turns_of(record)
    if [speaker for speaker, _ in turns] != ["human", "gpt"]:
        raise ConversationError("malformed question", "not one question and one answer")
    images = images_of(record)
    check_single(images)
    text = turns[0][1]
    check_tags(text)
    if text.count(IMAGE_TAG) != len(images):
        raise ConversationError(
            "malformed question", f"{text.count(IMAGE_TAG)} image tags, {'one image' if images else 'no image'}"
        )
    stem, options = _split_options(text.replace(IMAGE_TAG, "").strip().removesuffix(f"\n{LETTER.instruction}"))
    return Question(
        id=id,
        images=tuple(FileImage(image) for image in images),
        context="",
        question=stem,
        options=options,
        gold=letter_index(turns[1][1], len(options)),
    )


def _split_options(text: str) -> tuple[str, tuple[str, ...]]:
    """The text before the options, and the options, each of one line or several.

    They start at the last line with the label A; behind it the labels must be B, C and so on, each once.
    """
    labels = list(_OPTION.finditer(text))
    first = max((index for index, label in enumerate(labels) if label[1] == "A"), default=None)
    if first is None:
        raise ConversationError("options cannot be told from the text", "no line starts with 'A. '")
    labels = labels[first:]
    letters = "".join(label[1] for label in labels)
    if not ascii_uppercase.startswith(letters):
        raise ConversationError("options cannot be told from the text", f"labels {', '.join(letters)}")
    ends = [label.start() - 1 for label in labels[1:]] + [len(text)]
    options = tuple(text[label.end() : end] for label, end in zip(labels, ends, strict=True))
    return text[: max(0, labels[0].start() - 1)], options
