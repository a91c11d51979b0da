"""A-OKVQA (Schwenk et al., arXiv 2206.01718): its multiple-choice questions."""

from typing import Any

from ards_ray.errors import ConversationError
from ards_ray.evaluation.benchmarks.files import (
    Loaded,
    find_file,
    identified,
    index_of,
    questions_of,
    read_list,
    text_of,
    texts_of,
)
from ards_ray.evaluation.images import FileImage
from ards_ray.evaluation.question import Question


def read_a_okvqa(path: str) -> Loaded:
    """The questions of the validation split, or of the file that is named.

    Args:
        path: `aokvqa_v1p0_val.json`, its folder, or another split's file; images as COCO has them,
            `{split}2017/{image_id of 12 digits}.jpg`.

    Raises:
        SettingsError: the file is missing or broken.
    """
    file = find_file(path, "aokvqa_v1p0_val.json")
    yield from questions_of(identified(read_list(file), "question_id"), _question)


def _question(id: str, record: dict[str, Any]) -> Question:
    image = index_of(record, "image_id")
    if image is None:
        raise ConversationError("malformed question", "no 'image_id'")
    return Question(
        id=id,
        images=(FileImage(f"{text_of(record, 'split')}2017/{image:012}.jpg"),),
        context="",
        question=text_of(record, "question"),
        options=texts_of(record, "choices"),
        gold=index_of(record, "correct_choice_idx"),
    )
