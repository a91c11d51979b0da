"""GQA-OOD (Kervadec et al., arXiv 2006.05121) and the split of GQA that it is made from: free answers."""

from collections.abc import Callable
from typing import Any

from ards_ray.errors import CorpusError
from ards_ray.evaluation.benchmarks.files import Loaded, find_file, questions_of, read_json, text_of
from ards_ray.evaluation.images import FileImage
from ards_ray.evaluation.question import Question


def gqa_reader(name: str) -> Callable[[str], Loaded]:
    """The loader of one file of the benchmark, given by itself or in its folder. Images are `{imageId}.jpg`.

    It raises SettingsError where the file is missing or broken.
    """

    def read(path: str) -> Loaded:
        file = find_file(path, name)
        records = read_json(file)
        if not isinstance(records, dict):
            raise CorpusError(f"{file.url}: not an object of questions by id")
        yield from questions_of(records.items(), _question)

    return read


def _question(id: str, record: dict[str, Any]) -> Question:
    return Question(
        id=id,
        images=(FileImage(f"{text_of(record, 'imageId')}.jpg"),),
        context="",
        question=text_of(record, "question"),
        options=(),
        gold=None,
        answer=text_of(record, "answer", ""),
    )
