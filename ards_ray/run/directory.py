"""The run directory: the tables of one run, and which of their parts are whole."""

import json
import mmap
import os
import posixpath
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from ards_ray.errors import ArdsError, SettingsError
from ards_ray.run.entry import ENTRY, PATHS, entry_problem
from ards_ray.run.stream import CountedStream, vector_offsets
from ards_ray.storage.atomic import TEMPORARY, whole_file
from ards_ray.storage.location import locate

MANIFEST = "manifest"
RUN_FILE = "run.json"
CONFIG_FILE = "config.yaml"
LEASE = "lease.json"
# Folders of tables, and the other files at the top.
FOLDERS = ("conversations", "signals", "methods", "answers")
FILES = (CONFIG_FILE, "failures.jsonl", "answers.parquet", "not_evaluated.jsonl", "results.json", "results.md")
THREADS = 16
# Above a shard's vectors of one format, so that they lie in one page.
PAGE_BYTES = 1 << 27


Details = TypeVar("Details")


@dataclass(frozen=True)
class Part(Generic[Details]):
    """A finished file of the run, as its manifest entry tells.

    Attributes:
        path: Path under the run directory.
        rows: Rows of a table's part, records of another file.
        bytes: Size of the file.
        sha256: Checksum of the file.
        fingerprint: Fingerprint of the stage that wrote it.
        seconds: What it took to make.
        details: Counts of the part that later stages need without opening it.
        vectors: For each row group the byte of the file from which the numbers of its column `vector` follow one
            another, those of null rows left out; empty where they do not.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    fingerprint: str
    seconds: float
    details: Details
    vectors: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The file's name without folder and ending, the same for the parts of one shard in all tables."""
        return posixpath.basename(self.path).rsplit(".", 1)[0]

    @property
    def table(self) -> str:
        """The folder of the file's table; empty for a file at the top."""
        return posixpath.dirname(self.path)

    def size_problem(self, size: int | None) -> str | None:
        """What is wrong with a file of so many bytes in the part's place, None for no file; nothing is None."""
        if size is None:
            return "missing"
        return None if size == self.bytes else f"{size:,} bytes, and the manifest says {self.bytes:,}"


class RunDirectory:
    """A run directory, local or at a URL. Files appear whole under their final name, or not at all."""

    def __init__(self, url: str):
        self.location = locate(url)

    @property
    def url(self) -> str:
        return self.location.url

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            SettingsError: the folder holds something that is no run, cannot be made or looked into, or leads out of
                itself by a link.
        """
        self._refuse_links()
        try:
            self._refuse_foreign()
            self.location.filesystem.create_dir(self.location.path, recursive=True)
        except OSError as error:
            raise SettingsError(
                f"{self.url}: the output folder cannot be made or looked into ({error}); name another"
            ) from error

    def _refuse_foreign(self) -> None:
        info = self.location.info()
        if info.type == pafs.FileType.File:
            raise SettingsError(f"{self.url}: the output is a file; name a folder")
        if info.type == pafs.FileType.Directory and not self.exists(RUN_FILE):
            selector = pafs.FileSelector(self.location.path)
            names = sorted(entry.base_name for entry in self.location.filesystem.get_file_info(selector))
            foreign = [name for name in names if not name.startswith(".") and name != LEASE]
            if foreign:
                raise SettingsError(
                    f"{self.url}: the output folder holds something else ({', '.join(foreign[:3])}); name another"
                )

    def exists(self, path: str) -> bool:
        return (self.location / path).exists()

    def read_bytes(self, path: str) -> bytes:
        return (self.location / path).read_bytes()

    def read_json(self, path: str) -> Any:
        try:
            return json.loads(self.read_bytes(path))
        except ValueError as error:
            raise ArdsError(f"{self.url}/{path}: not valid JSON ({error}); the file is damaged") from error

    @contextmanager
    def publish(self, path: str) -> Iterator[CountedStream]:
        """A stream whose content appears under `path` when the block ends well.

        On a file system: a temporary file, synced and renamed. On an object store: one put, at the end. What was there
        before is no longer in the manifest from the beginning on.
        """
        target = self.location / path
        if not path.startswith(f"{MANIFEST}/"):
            self.delete(_entry(path))
        if self.location.is_local:
            with whole_file(target.path) as file:
                yield CountedStream(file)
            return
        with tempfile.TemporaryFile() as file:
            counted = CountedStream(file)
            yield counted
            file.flush()
            if not counted.size:
                target.write(b"")
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                target.write(content)

    def write_bytes(self, path: str, content: bytes) -> None:
        with self.publish(path) as stream:
            stream.write(content)

    def write_json(self, path: str, content: Any) -> None:
        self.write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    def write_table(
        self,
        path: str,
        table: pa.Table,
        stage: str,
        started: float,
        details: dict[str, Any] | None = None,
        row_groups: Sequence[int] = (),
    ) -> Part:
        """Write a part and its manifest entry.

        Args:
            path: Path under the run directory.
            table: Its rows.
            stage: Fingerprint of the stage that made them.
            started: When work on the part began (`time.monotonic`).
            details: See `Part.details`.
            row_groups: Rows of each row group of a table with vectors, for which `Part.vectors` is then known; all
                rows in one if not given.
        """
        # Halves of a float have nothing to compress, and dictionaries of vectors only cost time.
        plain = [name for name in ("vector", "centroid", "mean_member") if name in table.column_names]
        # Parquet's writer knows a column of lists by the path of its values.
        paths = {
            field.name: f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
            for field in table.schema
        }
        encoded = [path for name, path in paths.items() if name not in plain]
        metadata: list[pq.FileMetaData] = []
        groups = []
        first = 0
        for size in row_groups or [table.num_rows]:
            groups.append(table.slice(first, size))
            first += size
        with self.publish(path) as stream:
            with pq.ParquetWriter(
                pa.PythonFile(stream, mode="w"),
                table.schema,
                compression={path: "none" if name in plain else "zstd" for name, path in paths.items()},
                use_dictionary=[name for name in encoded if name != "record"],
                write_statistics=encoded,
                data_page_size=PAGE_BYTES,
                metadata_collector=metadata,
            ) as writer:
                for group in groups:
                    writer.write_table(group, row_group_size=max(group.num_rows, 1))
            vectors = vector_offsets(metadata[0], groups, stream) if row_groups else []
        return self.record(path, table.num_rows, stream, stage, started, details, vectors)

    def record(
        self,
        path: str,
        rows: int,
        written: CountedStream,
        stage: str,
        started: float,
        details: dict[str, Any] | None = None,
        vectors: Sequence[int] = (),
    ) -> Part:
        """Write the manifest entry of a published file. It is the last step: an entry means that the file is whole."""
        part = Part(
            path,
            rows,
            written.size,
            written.sha.hexdigest(),
            stage,
            round(monotonic() - started, 3),
            details or {},
            list(vectors),
        )
        self.write_json(_entry(path), asdict(part))
        return part

    def parts(self, table: str) -> list[Part]:
        """The finished parts of a table, by path.

        Raises:
            ArdsError: an entry of the manifest is damaged, or names what is not in the run.
        """
        return self._entries(f"{table.replace('/', '-')}-part-")

    def _entries(self, prefix: str) -> list[Part]:
        names = [info.base_name for info in self._listed() if info.base_name.startswith(prefix)]
        with ThreadPoolExecutor(THREADS) as pool:
            return sorted(pool.map(lambda name: self._part(f"{MANIFEST}/{name}"), names), key=lambda part: part.path)

    def _listed(self) -> list[pafs.FileInfo]:
        """The files of the manifest's entries."""
        selector = pafs.FileSelector((self.location / MANIFEST).path, allow_not_found=True)
        infos = self.location.filesystem.get_file_info(selector)
        return [info for info in infos if info.base_name.endswith(".json") and not info.base_name.startswith(".")]

    def finish_times(self, parts: Sequence[Part]) -> list[float]:
        """When each of some parts was finished, in seconds since 1970."""
        times = {info.base_name: info.mtime_ns for info in self._listed()}
        return [(times.get(posixpath.basename(_entry(part.path))) or 0) / 1e9 for part in parts]

    def part(self, path: str) -> Part | None:
        """The manifest entry of one file, or None where it is not finished.

        Raises:
            ArdsError: the entry is damaged, or names what is not in the run.
        """
        return self._part(_entry(path)) if self.exists(_entry(path)) else None

    def _part(self, entry: str) -> Part:
        content = self.read_json(entry)
        if problem := entry_problem(content):
            raise ArdsError(f"{self.url}/{entry}: damaged ({problem}); delete it and run the same command again")
        path = content["path"]
        if _entry(path) != entry or not PATHS.fullmatch(path):
            raise ArdsError(f"{self.url}/{entry}: names {path}, which is not in the run; delete this entry")
        return Part(**{key: content[key] for key in ENTRY})

    @contextmanager
    def open_table(self, path: str) -> Iterator[pq.ParquetFile]:
        """A part, to be read within the `with` block.

        Raises:
            ArdsError: the file is damaged, also when that shows while it is being read.
            OSError: the storage failed.
        """
        location = self.location / path
        with self._undamaged(location.url), location.filesystem.open_input_file(location.path) as file:
            yield pq.ParquetFile(file)

    @contextmanager
    def _undamaged(self, url: str) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowInvalid, OSError) as error:
            # Arrow says OSError for a corrupt page as well, without a number, and so do failing networks.
            if isinstance(error, OSError) and (error.errno is not None or not self.location.is_local):
                raise
            raise ArdsError(
                f"{url}: damaged Parquet file ({error}); delete it and run the same command again"
            ) from error

    def read_table(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A part, or some of its columns."""
        with self.open_table(path) as file:
            return file.read(columns=columns, use_threads=False)

    @contextmanager
    def open_bytes(self, part: Part) -> Iterator[pa.NativeFile]:
        """A part's bytes, to be read within the `with` block; those of a local file are mapped, not copied.

        Raises:
            ArdsError: the file is not the one that the manifest tells of.
            OSError: the storage failed.
        """
        location = self.location / part.path
        with location.open_bytes() as file:
            if problem := part.size_problem(file.size()):
                raise ArdsError(f"{location.url}: {problem}; delete the file and run the same command again")
            yield file

    def read_columns(self, parts: Sequence[Part], columns: Sequence[str]) -> pa.Table:
        """Some columns of many parts, in their order, read by pyarrow's own threads."""
        paths = [(self.location / part.path).path for part in parts]
        with self._undamaged(self.url):
            dataset = pads.dataset(paths, filesystem=self.location.filesystem, format="parquet")
            return dataset.to_table(columns=list(columns))

    def discard(self, table: str, keep: str | None = None) -> None:
        """Delete the files of a table that another fingerprint made."""
        for part in self._entries(table.replace("/", "-")):
            if part.table == table and part.fingerprint != keep:
                self.drop(part)

    def drop(self, part: Part) -> None:
        """Delete a finished file; its entry goes first."""
        self.delete(_entry(part.path))
        self.delete(part.path)

    def finished(self) -> list[Part]:
        """All finished files, by path; see `parts`."""
        return self._entries("")

    def sizes(self) -> dict[str, int]:
        """Bytes of every file of the run's tables and of the run's folder, by path; hidden ones too."""
        return {path: info.size for path, info in self._walk() if info.type == pafs.FileType.File}

    def _walk(self) -> Iterator[tuple[str, pafs.FileInfo]]:
        """What lies in the run's folder and its tables' folders, by path."""
        for folder in ("", *FOLDERS):
            selector = pafs.FileSelector(
                (self.location / folder).path.rstrip("/"), allow_not_found=True, recursive=bool(folder)
            )
            root = self.location.path.rstrip("/") + "/"
            for info in self.location.filesystem.get_file_info(selector):
                yield info.path.removeprefix(root), info

    def sweep(self) -> list[tuple[Part, str]]:
        """Delete what writers left that were killed: temporary files, and parts that the manifest does not name.

        Nobody else may be at work.

        Returns:
            Finished files that are missing or of another size than they were written with, and what is wrong.

        Raises:
            ArdsError: the manifest is damaged, or names what is not in the run.
            SettingsError: a folder of the run leads out of it by a link.
        """
        self._refuse_links()
        sizes, finished = self.sizes(), self.finished()
        for path in sizes.keys() - {part.path for part in finished}:
            if path.endswith(".parquet") and path.split("/")[0] in FOLDERS:
                self.delete(path)
        if self.location.is_local:
            for folder in ("", MANIFEST, *FOLDERS):
                for path, _, names in os.walk((self.location / folder).path):
                    for name in filter(TEMPORARY.search, names):
                        os.unlink(os.path.join(path, name))
                    if not folder:
                        break
        return [(part, problem) for part in finished if (problem := part.size_problem(sizes.get(part.path)))]

    def _refuse_links(self) -> None:
        """Refuse folders of the run that are links: what lies where they lead would be taken for the run's."""
        if not self.location.is_local:
            return
        for folder in (MANIFEST, *FOLDERS):
            top = (self.location / folder).path
            for path in [top, *(os.path.join(parent, name) for parent, names, _ in os.walk(top) for name in names)]:
                if os.path.islink(path):
                    raise SettingsError(
                        f"{path}: a symbolic link; put the folder itself there, or name another output for the run"
                    )

    def delete(self, path: str) -> None:
        if self.exists(path):
            self.location.filesystem.delete_file((self.location / path).path)

    def clear(self) -> None:
        """Delete the run's tables and files but the run file, and nothing else."""
        for folder in (MANIFEST, *FOLDERS):
            if self.exists(folder):
                self.location.filesystem.delete_dir((self.location / folder).path)
        for name in FILES:
            self.delete(name)


def _entry(path: str) -> str:
    return f"{MANIFEST}/{path.replace('/', '-').rsplit('.', 1)[0]}.json"
