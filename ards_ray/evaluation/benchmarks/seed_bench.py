"""SEED-Bench (Li et al., arXiv 2307.16125): its image questions."""

from string import ascii_lowercase
from typing import Any

from ards_ray.errors import ConversationError, CorpusError
from ards_ray.evaluation.benchmarks.files import (
    Loaded,
    find_file,
    identified,
    letter_index,
    questions_of,
    read_json,
    text_of,
)
from ards_ray.evaluation.images import FileImage
from ards_ray.evaluation.question import Question


def read_seed_bench(path: str) -> Loaded:
    """The questions about images; those about videos are not evaluated.

    Args:
        path: `SEED-Bench.json` or its folder; images `SEED-Bench-image/{data_id}`, without ending.

    Raises:
        SettingsError: the file is missing or broken.
    """
    file = find_file(path, "SEED-Bench.json")
    content = read_json(file)
    records = content.get("questions") if isinstance(content, dict) else None
    if not isinstance(records, list):
        raise CorpusError(f"{file.url}: no list under 'questions'")
    yield from questions_of(identified(records, "question_id"), _question)


def _question(id: str, record: dict[str, Any]) -> Question:
    kind = text_of(record, "data_type")
    if kind != "image":
        raise ConversationError("not about an image", kind)
    letters = [letter for letter in ascii_lowercase if f"choice_{letter}" in record]
    # Up to the last one: a hole between them would move the right one.
    keys = [
        f"choice_{letter}" for letter in ascii_lowercase[: ascii_lowercase.index(letters[-1]) + 1 if letters else 0]
    ]
    return Question(
        id=id,
        images=(FileImage(f"SEED-Bench-image/{text_of(record, 'data_id')}"),),
        context="",
        question=text_of(record, "question"),
        options=tuple(text_of(record, key) for key in keys),
        gold=letter_index(text_of(record, "answer", ""), len(keys)),
    )
