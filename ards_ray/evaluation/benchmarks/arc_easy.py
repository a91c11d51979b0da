"""ARC-Easy (Clark et al., arXiv 1803.05457): science questions without images."""

from typing import Any

from ards_ray.errors import ConversationError
from ards_ray.evaluation.benchmarks.files import Loaded, find_file, identified, questions_of, read_records, text_of
from ards_ray.evaluation.question import Question


def read_arc_easy(path: str) -> Loaded:
    """The questions of the test split, or of the file that is named.

    Args:
        path: The authors' `ARC-Easy-Test.jsonl`, the Parquet file of `allenai/ai2_arc`, or the folder of one of them.

    Raises:
        SettingsError: the file is missing or broken.
    """
    file = find_file(path, "ARC-Easy-Test.jsonl", "test-00000-of-00001.parquet")
    records = read_records(file, ["id", "question", "choices", "answerKey"])
    yield from questions_of(identified(records, "id"), _question)


def _question(id: str, record: dict[str, Any]) -> Question:
    question = record.get("question")
    if isinstance(question, dict):
        stem, choices = text_of(question, "stem"), question.get("choices")
    else:
        stem, choices = text_of(record, "question"), record.get("choices")
    options = _options(choices)
    key = text_of(record, "answerKey", "")
    labels = [label for label, _ in options]
    if labels.count(key) > 1:
        raise ConversationError("malformed question", f"two options have the label {key}")
    if key and key not in labels:
        raise ConversationError("gold answer out of range", f"{key} is none of {', '.join(labels)}")
    return Question(
        id=id,
        images=(),
        context="",
        question=stem,
        options=tuple(text for _, text in options),
        gold=labels.index(key) if key else None,
    )


def _options(choices: Any) -> list[tuple[str, str]]:
    """Labels, which may be letters or digits, and texts of the options, from either form."""
    if isinstance(choices, dict):
        labels, texts = choices.get("label"), choices.get("text")
        if not isinstance(labels, list) or not isinstance(texts, list) or len(labels) != len(texts):
            raise ConversationError("malformed question", "not as many labels as texts of options")
        choices = [{"label": label, "text": text} for label, text in zip(labels, texts, strict=True)]
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise ConversationError("malformed question", "no options under 'choices'")
    return [(text_of(choice, "label"), text_of(choice, "text")) for choice in choices]
