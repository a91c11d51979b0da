"""MMMU (Yue et al., arXiv 2311.16502): its multiple-choice questions."""

import ast
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from pyarrow import fs as pafs

from ards_ray.errors import ConversationError, SettingsError
from ards_ray.evaluation.benchmarks.files import (
    Loaded,
    find_file,
    identified,
    letter_index,
    questions_of,
    read_rows,
    text_of,
)
from ards_ray.evaluation.images import ParquetImage
from ards_ray.evaluation.question import Question
from ards_ray.storage.location import Location, locate

_COLUMNS = ("id", "question", "options", "answer", "question_type")
_PLACEHOLDER = re.compile(r"<image (\d{1,2})>")
_ROW = "row"


def read_mmmu(path: str) -> Loaded:
    """The multiple-choice questions of the validation split, or of the file that is named.

    A question has its first image, as in MMMU's script for LLaVA, and every other one that it or an option speaks of.
    The text keeps its `<image 2>`, in options too: permuting options leaves the images where they are.

    Args:
        path: A Parquet file, or a folder with files `validation-*.parquet`, in subfolders too.

    Raises:
        SettingsError: there is no such file, or it is broken.
    """
    for file in _files(path):
        rows = ({**row, _ROW: number} for number, row in enumerate(read_rows(file, _COLUMNS)))
        yield from questions_of(identified(rows, "id"), partial(_question, file))


def _files(path: str) -> Iterator[Location]:
    location = locate(path)
    if location.info().type != pafs.FileType.Directory:
        yield find_file(path)
        return
    selector = pafs.FileSelector(location.path, recursive=True)
    found = [entry.path for entry in location.filesystem.get_file_info(selector) if _is_validation(entry.base_name)]
    if not found:
        raise SettingsError(f"{location.url}: no validation-*.parquet in this folder")
    for inside in sorted(found):
        yield location / inside.removeprefix(location.path).lstrip("/")


def _is_validation(name: str) -> bool:
    return name.startswith("validation-") and name.endswith(".parquet")


def _question(file: Location, id: str, record: dict[str, Any]) -> Question:
    kind = text_of(record, "question_type")
    if kind != "multiple-choice":
        raise ConversationError("not multiple choice", kind)
    question = text_of(record, "question")
    options = _options(text_of(record, "options"))
    mentioned = {int(number) for text in (question, *options) for number in _PLACEHOLDER.findall(text)}
    return Question(
        id=id,
        images=tuple(ParquetImage(file.url, f"image_{number}", record[_ROW]) for number in sorted({1, *mentioned})),
        context="",
        question=question,
        options=options,
        gold=letter_index(text_of(record, "answer", ""), len(options)),
    )


def _options(text: str) -> tuple[str, ...]:
    """The options from the text of a Python list."""
    try:
        options = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise ConversationError("malformed question", f"'options' is no list ({error})") from error
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise ConversationError("malformed question", "'options' is no list of texts")
    return tuple(options)
