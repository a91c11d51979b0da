"""A corpus file: what the selection needs of it, in whatever form it is."""

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ards_ray.errors import CorpusError
from ards_ray.storage.location import Location

# Bounds memory where a file is one endless value: no conversation comes near.
LONGEST_CONVERSATION = 256 << 20
CHUNK_BYTES = 1 << 20

_DIGEST_BYTES = 16 << 20

BinaryStream = io.RawIOBase | IO[bytes]
# A parsed record, and the names of the images that are embedded in its row: the file's URL, `#` and the row within it.
Records = Iterator[tuple[Any, tuple[str, ...]]]


@dataclass(frozen=True)
class MixtureFile:
    """A file of the mixture.

    Attributes:
        name: Path under the folder that the mixture is written to.
        write: Writes its content to a stream and returns the number of conversations.
    """

    name: str
    write: Callable[[BinaryStream], int]


@dataclass(frozen=True)
class Source(ABC):
    """A corpus file.

    Attributes:
        file: Where it lies.
        form: Name of the form, as messages use it.
        kind: Files of the same kind can stand in one corpus.
        embeds_images: Whether images can lie in the file itself.
        mixture_name: What the mixture is called: a file, or a folder of parts.
        mixture_columns: Columns of the conversations table that the mixture is written from, beside `row`.
    """

    file: Location

    form: ClassVar[str]
    kind: ClassVar[str]
    embeds_images: ClassVar[bool] = False
    mixture_name: ClassVar[str]
    mixture_columns: ClassVar[tuple[str, ...]] = ("record",)

    @classmethod
    @abstractmethod
    def begins(cls, head: bytes) -> bool:
        """Whether a file of this form begins so; `head` is not empty and has neither a byte order mark nor space."""

    @abstractmethod
    def records(self) -> Records:
        """Stream the records in the file's order; the bytes of embedded images are neither read nor part of them.

        Raises:
            CorpusError: the file cannot be read; says where it is broken.
        """

    @classmethod
    @abstractmethod
    def mixture(
        cls, sources: Sequence["Source"], selected: npt.NDArray[np.bool_], records: Iterable[pa.LargeStringArray]
    ) -> Iterator[MixtureFile]:
        """The files of the mixture, each to be written before the next is asked for.

        Args:
            sources: The corpus files, in their order.
            selected: For each row of the corpus.
            records: JSON texts of the selected records, in corpus order; empty if `mixture_columns` is.
        """

    def digest(self) -> str:
        """A digest of the file's content."""
        sha = hashlib.sha256()
        with self.file.filesystem.open_input_file(self.file.path) as stream:
            while chunk := stream.read(_DIGEST_BYTES):
                sha.update(chunk)
        return sha.hexdigest()

    def images(self, rows: Sequence[int]) -> Mapping[int, bytes]:
        """The bytes of the images that rows of the file embed; rows that embed none are left out.

        Raises:
            CorpusError: the file is missing or corrupt.
            OSError: a remote storage failed; worth another try.
        """
        return {}


class JsonSource(Source):
    """A form whose mixture is one file of the records' JSON texts."""

    kind = "JSON"

    @classmethod
    def mixture(
        cls, sources: Sequence[Source], selected: npt.NDArray[np.bool_], records: Iterable[pa.LargeStringArray]
    ) -> Iterator[MixtureFile]:
        yield MixtureFile(cls.mixture_name, partial(cls.write, records))

    @classmethod
    @abstractmethod
    def write(cls, records: Iterable[pa.LargeStringArray], stream: BinaryStream) -> int:
        """Write records and return how many there are."""


@contextmanager
def named(file: Location) -> Iterator[None]:
    """Name the file in errors of its storage."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{file.url}: cannot be read ({error})") from error


def joined(records: pa.LargeStringArray, between: str) -> pa.Buffer:
    """JSON texts as one text, encoded."""
    whole = pa.ListArray.from_arrays([0, len(records)], records)
    return pc.binary_join(whole, pa.scalar(between, records.type))[0].as_buffer()
