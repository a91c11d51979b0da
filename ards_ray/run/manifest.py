"""The manifest of a run: which files are finished.

A finished file has an entry of its own, `manifest/TABLE/part-00000.json`, so that workers write entries without knowing
of one another. The driver gathers the entries of a table's parts into one file, `manifest/TABLE/parts.json`, a JSON
array with an entry in each line: the manifest of 40,000 shards is then read in a few requests.

A part's own entry wins over the gathered one, so the manifest is right after a crash at any point:

- The gathered file is written first, then the entries in it are deleted. Those that are left say the same.
- A part that is about to be written again, or is dropped, is withdrawn first: its own entry says `null`, which hides
  the gathered one. The new entry takes the place of the null.
"""

import gc
import json
import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from pyarrow import fs as pafs

from ards_ray.errors import ArdsError
from ards_ray.run.entry import PATHS, Part, entry_of, entry_problem, part_of
from ards_ray.run.files import THREADS, RunFiles

MANIFEST = "manifest"
GATHERED = "parts.json"
# The driver may gather entries between the time when a reader lists them and the time when it opens them.
ATTEMPTS = 5

# Parts by the names of their own entries; None where the part is withdrawn.
Entries = Mapping[str, "Part[Any] | None"]


class Manifest:
    """The entries of a run's finished files. A gathered file that was read is kept in memory."""

    def __init__(self, files: RunFiles):
        self._files = files
        # With the size and the time of the file that was read.
        self._gathered: dict[str, tuple[tuple[int, int], Mapping[str, Part]]] = {}

    def record(self, part: Part) -> None:
        """Write the entry of a finished file."""
        self._files.write_json(_entry(part.path), entry_of(part))

    def withdraw(self, path: str) -> None:
        """Note that a file is not finished."""
        entry = _entry(path)
        if _is_part(entry) and self._files.exists(_gathered_file(entry)):
            self._files.write_json(entry, None)
        else:
            self._files.delete(entry)

    def part(self, path: str) -> Part | None:
        """The entry of one file, or None where it is not finished.

        Raises:
            ArdsError: the entry is damaged, or names what is not in the run.
        """
        entry = _entry(path)
        try:
            return self._own_part(entry)
        except FileNotFoundError:
            if not _is_part(entry):
                return None
        gathered = _gathered_file(entry)
        info = (self._files.location / gathered).info()
        return None if info.type == pafs.FileType.NotFound else self._gathered_parts(gathered, info).get(entry)

    def table(self, table: str) -> list[Part]:
        """The finished files in a table's folder, by path; see `part`."""
        return _by_path(self._read(f"{MANIFEST}/{table}")[0])

    def everything(self) -> list[Part]:
        """All finished files, by path; see `part`."""
        return _by_path(self._read(MANIFEST, recursive=True)[0])

    def gather(self, alone: bool = False) -> list[Part]:
        """Gather the entries of every table's parts. Only the driver may do so.

        Args:
            alone: Whether nobody else is at work. What was withdrawn is forgotten then; else it may be recorded again
                at this moment.

        Returns:
            All finished files, by path.
        """
        found, own = self._read(MANIFEST, recursive=True)
        tables: dict[str, dict[str, Part | None]] = defaultdict(dict)
        for entry, part in found.items():
            tables[posixpath.dirname(entry)][entry] = part
        settled: dict[str, list[str]] = defaultdict(list)
        for entry in own:
            if _is_part(entry) and (alone or found[entry] is not None):
                settled[posixpath.dirname(entry)].append(entry)
        for folder, entries in settled.items():
            self._replace(folder, tables[folder], entries)
        return _by_path(found)

    def discard(self, table: str, paths: Collection[str]) -> None:
        """Delete the entries of some files in a table's folder, and gather those of the other parts."""
        found, own = self._read(f"{MANIFEST}/{table}")
        kept = {entry: None if part is None or part.path in paths else part for entry, part in found.items()}
        self._replace(f"{MANIFEST}/{table}", kept, [entry for entry in own if _is_part(entry) or kept[entry] is None])

    def _replace(self, folder: str, found: Entries, own: Iterable[str]) -> None:
        """Write the gathered file of a folder anew, then delete the own entries that are in it or stand for nothing."""
        parts = {entry: part for entry, part in found.items() if part is not None and _is_part(entry)}
        path = f"{folder}/{GATHERED}"
        if parts:
            lines = [json.dumps(entry_of(parts[entry]), ensure_ascii=False) for entry in sorted(parts)]
            self._files.write_bytes(path, ("[\n" + ",\n".join(lines) + "\n]\n").encode())
            self._keep(path, (self._files.location / path).info(), parts)
        else:
            self._files.delete(path)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._files.delete, own))

    def _read(self, folder: str, recursive: bool = False) -> tuple[Entries, list[str]]:
        """The entries below a folder of the manifest, and which of them are files of their own."""
        for attempt in range(ATTEMPTS):
            listed = self._files.walk([folder]) if recursive else self._files.list(folder)
            infos = {path: info for path, info in listed.items() if _is_entry(path)}
            own = [path for path in infos if posixpath.basename(path) != GATHERED]
            found: dict[str, Part | None] = {}
            try:
                for path in infos.keys() - set(own):
                    found.update(self._gathered_parts(path, infos[path]))
                with ThreadPoolExecutor(THREADS) as pool:
                    found.update(zip(own, pool.map(self._own_part, own), strict=True))
                return found, own
            except FileNotFoundError:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError

    def _own_part(self, entry: str) -> Part | None:
        content = self._files.read_json(entry)
        if content is None:
            return None
        if problem := entry_problem(content):
            raise ArdsError(f"{self._files.url}/{entry}: damaged ({problem}); delete it and run the same command again")
        path = content["path"]
        if _entry(path) != entry or not PATHS.fullmatch(path):
            raise ArdsError(f"{self._files.url}/{entry}: names {path}, which is not in the run; delete this entry")
        return part_of(content)

    def _gathered_parts(self, path: str, info: pafs.FileInfo) -> Mapping[str, Part]:
        if path in self._gathered and self._gathered[path][0] == (info.size, info.mtime_ns):
            return self._gathered[path][1]
        with _uncollected():
            return self._parse(path, info)

    def _parse(self, path: str, info: pafs.FileInfo) -> Mapping[str, Part]:
        content = self._files.read_json(path)
        parts: dict[str, Part] = {}
        table = posixpath.dirname(path).removeprefix(f"{MANIFEST}/")
        problem = None if isinstance(content, list) else "it is no list"
        for number, item in enumerate([] if problem else content):
            if problem := entry_problem(item):
                problem = f"entry {number + 1}: {problem}"
                break
            named = item["path"]
            folder, _, name = named.rpartition("/")
            if folder != table or not name.startswith("part-") or not PATHS.fullmatch(named):
                problem = f"it names {named}, which is no part of this table"
                break
            entry = _entry(named)
            if entry in parts:
                problem = f"it names {named} twice"
                break
            parts[entry] = part_of(item)
        if problem:
            raise ArdsError(
                f"{self._files.url}/{path}: damaged ({problem}); put a copy of it back, or delete it and run the same "
                "command again, which makes its table anew"
            )
        self._keep(path, info, parts)
        return parts

    def _keep(self, path: str, info: pafs.FileInfo, parts: Mapping[str, Part]) -> None:
        # Some filesystems tell no times; a file there may have changed.
        if info.mtime_ns is not None:
            self._gathered[path] = (info.size, info.mtime_ns), parts


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's cycle collector, which would look at hundreds of thousands of new entries over and over."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _entry(path: str) -> str:
    """The entry of its own of a file of the run."""
    return f"{MANIFEST}/{path.rsplit('.', 1)[0]}.json"


def _gathered_file(entry: str) -> str:
    """The file of the gathered entries beside an entry."""
    return posixpath.join(posixpath.dirname(entry), GATHERED)


def _is_entry(path: str) -> bool:
    return path.endswith(".json") and not posixpath.basename(path).startswith(".")


def _is_part(path: str) -> bool:
    return posixpath.basename(path).startswith("part-")


def _by_path(entries: Entries) -> list[Part]:
    return sorted((part for part in entries.values() if part is not None), key=lambda part: part.path)
