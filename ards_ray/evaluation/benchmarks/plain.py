"""Multiple choice of one's own, in the plainest form."""

from typing import Any

from ards_ray.corpus.media import is_nothing, unread_key
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

_KEYS = ("id", "context", "question", "options", "answer")


def read_plain(path: str) -> Loaded:
    """The questions of a JSON array of objects.

    Args:
        path: A file, or a folder with `benchmark.json`. Each object has `id`, `question`, `options` (a list of texts)
            and `answer` (index of the right option, from 0); `image` (path under the image folder) and `context` may
            be missing.

    Raises:
        SettingsError: the file is missing or broken.
    """
    file = find_file(path, "benchmark.json")
    yield from questions_of(identified(read_list(file), "id"), _question)


def _question(id: str, record: dict[str, Any]) -> Question:
    image = text_of(record, "image", "")
    images = () if is_nothing(image) else (FileImage(image),)
    key = unread_key({key: value for key, value in record.items() if key not in _KEYS}, (image,) if images else ())
    if key is not None:
        raise ConversationError("pictures under a key that is not read", key)
    return Question(
        id=id,
        images=images,
        context=text_of(record, "context", ""),
        question=text_of(record, "question"),
        options=texts_of(record, "options"),
        gold=index_of(record, "answer"),
    )
