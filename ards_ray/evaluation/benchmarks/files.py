"""Reading what benchmarks are published as: files found by name, records checked field by field."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from string import ascii_uppercase
from typing import Any

from pyarrow import fs as pafs

from ards_ray.corpus.parquet import MAGIC, open_parquet
from ards_ray.corpus.text import unique_keys
from ards_ray.errors import ConversationError, CorpusError, SettingsError
from ards_ray.evaluation.question import NotEvaluated, Question
from ards_ray.storage.location import Location, locate

Loaded = Iterator[Question | NotEvaluated]

_BATCH_ROWS = 256


def find_file(path: str, *names: str) -> Location:
    """The file at `path`, or the first of the names that is in the folder there.

    Raises:
        SettingsError: there is none of them.
    """
    location = locate(path)
    kind = location.info().type
    if kind == pafs.FileType.NotFound:
        raise SettingsError(f"{location.url}: not found")
    if kind == pafs.FileType.File:
        return location
    for name in names:
        if (location / name).info().type == pafs.FileType.File:
            return location / name
    raise SettingsError(f"{location.url}: no {' or '.join(names)} in this folder")


def read_json(file: Location) -> Any:
    """The content of a JSON file.

    Raises:
        CorpusError: it is not JSON, or an object has a key twice.
    """
    try:
        return json.loads(read_bytes(file), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{file.url}: not valid JSON ({error})") from error


def read_list(file: Location) -> list[Any]:
    """The records of a JSON file that is an array.

    Raises:
        CorpusError: it is not.
    """
    records = read_json(file)
    if not isinstance(records, list):
        raise CorpusError(f"{file.url}: not a list of questions")
    return records


def read_bytes(file: Location) -> bytes:
    """The content of a file.

    Raises:
        CorpusError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise CorpusError(f"{file.url}: cannot be read ({error})") from error


def read_records(file: Location, columns: Sequence[str]) -> Iterator[Any]:
    """The records of a file of JSON Lines or, told by its content, of the columns of a Parquet file.

    Raises:
        CorpusError: the file is broken, or one of the columns is not there; names the line or column.
    """
    content = read_bytes(file)
    return read_rows(file, columns) if content.startswith(MAGIC) else _read_lines(file, content)


def read_rows(file: Location, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, with these columns alone.

    Raises:
        CorpusError: the file is missing or corrupt, or one of the columns is not there.
    """
    with open_parquet(file) as parquet:
        names = parquet.schema_arrow.names
        missing = [column for column in columns if column not in names]
        if missing:
            raise CorpusError(f"{file.url}: no column {missing[0]!r} among {', '.join(names)}")
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=list(columns)):
            yield from batch.to_pylist()


def _read_lines(file: Location, content: bytes) -> Iterator[Any]:
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            try:
                yield json.loads(line, object_pairs_hook=unique_keys)
            except (ValueError, RecursionError) as error:
                raise CorpusError(f"{file.url}: line {number} is not valid JSON ({error})") from error


def questions_of(records: Iterable[tuple[str, Any]], build: Callable[[str, Any], Question]) -> Loaded:
    """A question for each record, or why there is none.

    Args:
        records: Ids and records.
        build: Makes a question of them; raises ConversationError where it cannot.
    """
    for id, record in records:
        try:
            if not isinstance(record, dict):
                raise ConversationError("malformed question", f"{type(record).__name__} instead of an object")
            yield build(id, record)
        except ConversationError as error:
            yield NotEvaluated(id, str(error))


def text_of(record: dict[str, Any], key: str, default: str | None = None) -> str:
    """The text under a key; the default, if there is one, where it is missing or null.

    Raises:
        ConversationError: there is no text.
    """
    value = record.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise ConversationError("malformed question", f"no text under {key!r}")
    return value


def texts_of(record: dict[str, Any], key: str) -> tuple[str, ...]:
    """The list of texts under a key.

    Raises:
        ConversationError: there is none.
    """
    values = record.get(key)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ConversationError("malformed question", f"no list of texts under {key!r}")
    return tuple(values)


def index_of(record: dict[str, Any], key: str) -> int | None:
    """The index under a key; None where it is missing or null.

    Raises:
        ConversationError: it is no whole number.
    """
    value = record.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ConversationError("malformed question", f"no index under {key!r}")
    return value


def letter_index(letter: str, options: int) -> int | None:
    """The index that the letter of the gold answer stands for, 0 for A; None for nothing, or `?`.

    Raises:
        ConversationError: it is that of none of so many options.
    """
    text = letter.strip()
    if text in ("", "?"):
        return None
    letters = ascii_uppercase[:options]
    if len(text) > 1 or text not in letters:
        raise ConversationError("gold answer out of range", f"{text} is none of {', '.join(letters)}")
    return letters.index(text)


def identified(records: Iterable[Any], key: str) -> Iterator[tuple[str, Any]]:
    """Records with the id under a key; the record's number where it has none."""
    for number, record in enumerate(records):
        id = record.get(key) if isinstance(record, dict) else None
        yield str(number if id is None else id), record
