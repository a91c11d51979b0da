"""MMBench (Liu et al., arXiv 2307.06281), English and Chinese: TSV files with images as base64."""

from collections.abc import Callable, Mapping
from string import ascii_uppercase

from ards_ray.errors import ConversationError, CorpusError
from ards_ray.evaluation.benchmarks.files import Loaded, find_file, letter_index
from ards_ray.evaluation.benchmarks.tsv import Field, read_tsv
from ards_ray.evaluation.images import Base64Image
from ards_ray.evaluation.question import NotEvaluated, Question
from ards_ray.storage.location import Location

_COLUMNS = ("index", "question", "A", "B", "image")
# A rotation of question i has an index of i plus a multiple of this.
_ROTATIONS_FROM = 1_000_000
# What is no longer than this is the index of the row that has the image, as in VLMEvalKit's files.
_LONGEST_REFERENCE = 64
# A missing hint in files that pandas has rewritten, as in LLaVA's script. Of an option these words are the text: where
# one is missing, the published files have an empty field.
_NO_HINT = ("", "nan", "none")
# No index has more digits.
_LONGEST_INDEX = 18

_Row = dict[str, Field]


def mmbench_reader(*names: str) -> Callable[[str], Loaded]:
    """The loader of the file at a path, or of the first of these names in the folder there.

    Rows that are rotations of another row (CircularEval) are left out: permutation asks them all.
    It raises SettingsError where the file is missing or broken.
    """

    def read(path: str) -> Loaded:
        file = find_file(path, *names)
        with file.open_bytes() as stream:
            yield from _questions(file, memoryview(stream.read_buffer()))

    return read


def _questions(file: Location, content: memoryview) -> Loaded:
    images: dict[int, Base64Image] = {}
    indexes = set()
    for row in read_tsv(content, file.url):
        missing = [column for column in _COLUMNS if column not in row]
        if missing:
            raise CorpusError(f"{file.url}: no column {missing[0]!r} among {', '.join(row)}")
        indexes.add(_index(row, file))
        image = _own_image(row, file)
        if image is not None:
            images.setdefault(_index(row, file), image)
    for row in read_tsv(content, file.url):
        id, index = row["index"].text, _index(row, file)
        if index < _ROTATIONS_FROM:
            try:
                yield _question(id, row, _own_image(row, file) or _image_of(index, row, images))
            except ConversationError as error:
                yield NotEvaluated(id, str(error))
        elif index % _ROTATIONS_FROM not in indexes:
            yield NotEvaluated(id, f"rotation without its question: {index % _ROTATIONS_FROM}")


def _index(row: _Row, file: Location) -> int:
    text = row["index"].text
    if not text.isdecimal() or len(text) > _LONGEST_INDEX:
        raise CorpusError(f"{file.url}: the index {text[:_LONGEST_REFERENCE]!r} is no number")
    return int(text)


def _own_image(row: _Row, file: Location) -> Base64Image | None:
    image = row["image"]
    return Base64Image(file.url, image.start, image.end) if len(image.text) > _LONGEST_REFERENCE else None


def _image_of(index: int, row: _Row, images: Mapping[int, Base64Image]) -> Base64Image:
    """The image of another row: the one that is named, or one with the same index."""
    reference = row["image"].text.strip()
    named = int(reference) if reference.isdecimal() and len(reference) <= _LONGEST_INDEX else index
    image = images.get(named)
    if image is None:
        raise ConversationError("image not found", f"row {reference}" if reference else "the field is empty")
    return image


def _question(id: str, row: _Row, image: Base64Image) -> Question:
    options = [_text(row, letter) for letter in ascii_uppercase if letter in row]
    while options and not options[-1].strip():
        options.pop()
    hint = _text(row, "hint")
    return Question(
        id=id,
        images=(image,),
        context="" if hint.strip().lower() in _NO_HINT else hint,
        question=_text(row, "question"),
        options=tuple(options),
        gold=letter_index(_text(row, "answer"), len(options)),
    )


def _text(row: _Row, column: str) -> str:
    """A field's text; empty where the column is missing."""
    return row[column].text if column in row else ""
