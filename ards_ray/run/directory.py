"""The run directory: the tables of one run, and which of their parts are whole."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic, time
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from ards_ray.errors import ArdsError, SettingsError
from ards_ray.run.entry import Part as Part
from ards_ray.run.files import THREADS as THREADS
from ards_ray.run.files import RunFiles
from ards_ray.run.manifest import MANIFEST, Manifest
from ards_ray.run.stream import CountedStream, vector_offsets
from ards_ray.storage.atomic import TEMPORARY

RUN_FILE = "run.json"
CONFIG_FILE = "config.yaml"
LEASE = "lease.json"
# Folders of tables, and the other files at the top.
FOLDERS = ("conversations", "signals", "methods", "answers")
FILES = (CONFIG_FILE, "failures.jsonl", "answers.parquet", "not_evaluated.jsonl", "results.json", "results.md")
# Above a shard's vectors of one format, so that they lie in one page.
PAGE_BYTES = 1 << 27


class RunDirectory(RunFiles):
    """A run directory, local or at a URL: its tables and its manifest."""

    def __init__(self, url: str):
        super().__init__(url)
        self._manifest = Manifest(self)

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

    @contextmanager
    def publish(self, path: str) -> Iterator[CountedStream]:
        """A stream whose content appears under `path` when the block ends well; see `RunFiles.publish`.

        What was there before is no longer in the manifest from the beginning on.
        """
        if not path.startswith(f"{MANIFEST}/"):
            self._manifest.withdraw(path)
        with super().publish(path) as stream:
            yield stream

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
            round(time(), 3),
            details or {},
            list(vectors),
        )
        self._manifest.record(part)
        return part

    def parts(self, table: str) -> list[Part]:
        """The finished parts of a table, by path.

        Raises:
            ArdsError: an entry of the manifest is damaged, or names what is not in the run.
        """
        return [part for part in self._manifest.table(table) if part.name.startswith("part-")]

    def part(self, path: str) -> Part | None:
        """The manifest entry of one file, or None where it is not finished.

        Raises:
            ArdsError: the entry is damaged, or names what is not in the run.
        """
        return self._manifest.part(path)

    def gather(self) -> list[Part]:
        """Gather the manifest's entries of parts into one file for each table.

        Only the driver may do so; workers may write other parts meanwhile.

        Returns:
            All finished files, by path; see `parts`.
        """
        return self._manifest.gather()

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
        """Delete the files in a table's folder that another fingerprint made. Nobody may be at work on the table."""
        paths = [part.path for part in self._manifest.table(table) if part.fingerprint != keep]
        if paths:
            self._manifest.discard(table, frozenset(paths))
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(self.delete, paths))

    def drop(self, part: Part) -> None:
        """Delete a finished file; its entry goes first."""
        self._manifest.withdraw(part.path)
        self.delete(part.path)

    def finished(self) -> list[Part]:
        """All finished files, by path; see `parts`."""
        return self._manifest.everything()

    def sizes(self) -> dict[str, int]:
        """Bytes of every file of the run's tables and of the run's folder, by path; hidden ones too."""
        files = {path: info for path, info in self.list("").items() if info.type == pafs.FileType.File}
        return {path: info.size for path, info in (files | self.walk(FOLDERS)).items()}

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
        sizes, finished = self.sizes(), self._manifest.gather(alone=True)
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

    def clear(self) -> None:
        """Delete the run's tables and files but the run file, and nothing else."""
        for folder in (MANIFEST, *FOLDERS):
            if self.exists(folder):
                self.location.filesystem.delete_dir((self.location / folder).path)
        for name in FILES:
            self.delete(name)
