"""BoolQ (Clark et al., arXiv 1905.10044): a passage and a question, with yes and no as options."""

from typing import Any

from ards_ray.errors import ConversationError
from ards_ray.evaluation.benchmarks.files import Loaded, find_file, questions_of, read_records, text_of
from ards_ray.evaluation.question import Question


def read_boolq(path: str) -> Loaded:
    """The questions of the development split, or of the file that is named. A question's id is its number from 0.

    Args:
        path: The authors' `dev.jsonl`, the Parquet file of `google/boolq`, or the folder of one of them.

    Raises:
        SettingsError: the file is missing or broken.
    """
    file = find_file(path, "dev.jsonl", "validation-00000-of-00001.parquet")
    records = read_records(file, ["question", "passage", "answer"])
    yield from questions_of(((str(number), record) for number, record in enumerate(records)), _question)


def _question(id: str, record: dict[str, Any]) -> Question:
    answer = record.get("answer")
    question = text_of(record, "question").strip()
    if not question:
        raise ConversationError("no question")
    if answer is not None and not isinstance(answer, bool):
        raise ConversationError("malformed question", "the answer is neither true nor false")
    return Question(
        id=id,
        images=(),
        context=text_of(record, "passage"),
        # Published in lower case without a question mark.
        question=f"{question.removesuffix('?')}?",
        options=("yes", "no"),
        gold=None if answer is None else int(not answer),
    )
