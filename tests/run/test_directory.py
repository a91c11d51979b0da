"""The run directory: files are whole or not there, on disks and on object stores."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from ards_ray.errors import ArdsError, SettingsError
from ards_ray.run.directory import RunDirectory
from ards_ray.run.entry import entry_of
from ards_ray.run.stream import CountedStream
from ards_ray.run.vectors import vector_column
from ards_ray.storage.location import locate

WIDTH = 4
VECTORS = pa.list_(pa.float16(), WIDTH)


def files(run: RunDirectory) -> set[str]:
    """All files under the run directory, temporary ones too."""
    if run.location.is_local:
        folder = Path(run.location.path)
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    root = run.location.path.rstrip("/") + "/"
    return {path.removeprefix(root) for path in fsspec.filesystem("memory").find(root)}


def rows(count: int = 5, first: int = 0) -> pa.Table:
    vectors = np.random.default_rng(first).standard_normal((count, WIDTH)).astype(np.float16)
    return pa.table(
        {
            "row": pa.array(range(first, first + count), type=pa.int64()),
            "error": pa.array([None if row % 2 else f"é {row}" for row in range(count)], type=pa.string()),
            "vector": vector_column(vectors, WIDTH),
        }
    )


def overwrite(run: RunDirectory, path: str, content: bytes) -> None:
    location = run.location / path
    with location.filesystem.open_output_stream(location.path) as stream:
        stream.write(content)


def content_of(run: RunDirectory) -> dict[str, bytes]:
    return {path: run.read_bytes(path) for path in files(run)}


def write_half(run: RunDirectory, path: str) -> None:
    with run.publish(path) as stream:
        stream.write(b"half")
        raise ZeroDivisionError


def test_a_file_appears_when_it_is_whole(run: RunDirectory) -> None:
    """A reader beside the run, DuckDB for instance, must never see half a file."""
    with run.publish("folder/new.bin") as stream:
        stream.write(b"one")
        assert not run.exists("folder/new.bin")
        stream.write(b"two")
    assert run.read_bytes("folder/new.bin") == b"onetwo"
    assert files(run) == {"folder/new.bin"}


def test_a_writer_that_fails_leaves_nothing(run: RunDirectory) -> None:
    """Half a mixture under its final name would be trained on."""
    with pytest.raises(ZeroDivisionError):
        write_half(run, "folder/new.bin")
    assert files(run) == set()


def test_a_writer_that_fails_leaves_what_was_there(run: RunDirectory) -> None:
    """Writing a mixture again must not cost the one from before."""
    run.write_bytes("mixture.json", b"before")
    with pytest.raises(ZeroDivisionError):
        write_half(run, "mixture.json")
    assert content_of(run) == {"mixture.json": b"before"}
    run.write_bytes("mixture.json", b"after")
    assert content_of(run) == {"mixture.json": b"after"}


def test_a_killed_writer_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    """Machines die at any moment: what they leave must not pass for a finished file."""
    script = (
        "import os, signal\n"
        "from ards_ray.run.directory import RunDirectory\n"
        f"with RunDirectory({str(tmp_path)!r}).publish('signals/part-00000.parquet') as stream:\n"
        "    stream.write(b'half' * 100_000)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    run = RunDirectory(str(tmp_path))
    assert not run.exists("signals/part-00000.parquet")
    assert run.parts("signals") == []
    assert all(name.startswith(".") for name in os.listdir(tmp_path / "signals"))


def test_columns_are_compressed_but_for_vectors(run: RunDirectory) -> None:
    """Names of images repeat and are long: uncompressed, they are most of a corpus of short conversations."""
    images = [["coco/train2017/000000033471.jpg"]] * 1000
    columns = {"row": pa.array(range(1000)), "images": images, "vector": pa.array([[1.0] * WIDTH] * 1000, VECTORS)}
    run.write_table("scores/part-00000.parquet", pa.table(columns), "stamp", 0.0)
    with run.open_table("scores/part-00000.parquet") as file:
        group = file.metadata.row_group(0)
    kinds = [group.column(index).compression for index in range(group.num_columns)]
    assert kinds == ["ZSTD", "ZSTD", "UNCOMPRESSED"]
    assert group.column(1).total_compressed_size < 1000


def test_two_writers_of_one_file(run: RunDirectory) -> None:
    """A worker that was taken for dead may finish beside the one that took its place."""
    with run.publish("a/part.bin") as first:
        first.write(b"same")
        with run.publish("a/part.bin") as second:
            second.write(b"same")
    assert content_of(run) == {"a/part.bin": b"same"}


def test_a_part_reads_back(run: RunDirectory) -> None:
    """Every number of the run goes this way: types, nulls and half floats come back as they were."""
    table = rows()
    part = run.write_table(
        "methods/ards/scores/part-00003.parquet", table, "stamp", 0.0, {"ok": 3, "formats": {"é": 1}}
    )
    assert run.read_table(part.path).equals(table)
    assert run.read_table(part.path, ["row"]).column_names == ["row"]
    assert run.read_table(part.path).schema.equals(table.schema, check_metadata=False)
    assert run.part(part.path) == part
    assert run.parts("methods/ards/scores") == [part]
    assert (part.name, part.rows, part.fingerprint) == ("part-00003", 5, "stamp")
    assert part.details == {"ok": 3, "formats": {"é": 1}}


def test_checksum_and_size_are_the_files(run: RunDirectory) -> None:
    """They are what a copied run is verified by."""
    part = run.write_table("methods/ards/scores/part-00000.parquet", rows(), "stamp", 0.0)
    content = run.read_bytes(part.path)
    assert (part.bytes, part.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    entry = json.loads(run.read_bytes("manifest/methods/ards/scores/part-00000.json"))
    assert entry["sha256"] == part.sha256
    assert files(run) == {"manifest/methods/ards/scores/part-00000.json", "methods/ards/scores/part-00000.parquet"}


def test_row_groups(run: RunDirectory) -> None:
    """Each format is a row group, so that the vectors of one are read without the others'."""
    part = run.write_table("methods/ards/scores/part-00000.parquet", rows(6), "stamp", 0.0, row_groups=[1, 3, 2])
    with run.open_table(part.path) as file:
        assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [1, 3, 2]
        assert file.read_row_group(1)["row"].to_pylist() == [1, 2, 3]
    empty = run.write_table("methods/ards/scores/part-00001.parquet", rows(0), "stamp", 0.0)
    assert run.read_table(empty.path).equals(rows(0))


class RecordedDirectory(RunDirectory):
    """Notes what is published, in order, and may lose its storage."""

    def __init__(self, url: str, fails_on: str = ""):
        super().__init__(url)
        self.published: list[str] = []
        self._fails_on = fails_on

    @contextmanager
    def publish(self, path: str) -> Iterator[CountedStream]:
        with super().publish(path) as stream:
            yield stream
            if self._fails_on and path.startswith(self._fails_on):
                raise OSError(28, "No space left on device")
        self.published.append(path)


def test_the_manifest_entry_comes_last(url: str) -> None:
    """An entry means that the part is whole; written first, a crash in between would end in a part that is missing."""
    run = RecordedDirectory(url)
    run.prepare()
    run.write_table("methods/ards/scores/part-00000.parquet", rows(), "stamp", 0.0)
    assert run.published == ["methods/ards/scores/part-00000.parquet", "manifest/methods/ards/scores/part-00000.json"]


@pytest.mark.parametrize("fails_on", ["methods", "manifest"])
def test_without_its_entry_a_part_is_not_finished(url: str, fails_on: str) -> None:
    """A full disk, at the part or at its entry: the part is done again."""
    run = RecordedDirectory(url, fails_on)
    run.prepare()
    with pytest.raises(OSError, match="No space left"):
        run.write_table("methods/ards/scores/part-00000.parquet", rows(), "stamp", 0.0)
    assert run.parts("methods/ards/scores") == []
    assert run.part("methods/ards/scores/part-00000.parquet") is None
    assert files(run) == ({"methods/ards/scores/part-00000.parquet"} if fails_on == "manifest" else set())


def test_a_table_that_parquet_cannot_hold_leaves_nothing(run: RunDirectory) -> None:
    """The writer itself may fail in the middle."""
    intervals = pa.table({"row": pa.array([(1, 2, 3)], type=pa.month_day_nano_interval())})
    with pytest.raises(pa.ArrowNotImplementedError):
        run.write_table("methods/ards/scores/part-00000.parquet", intervals, "stamp", 0.0)
    assert files(run) == set()


def test_parts_come_by_name(run: RunDirectory) -> None:
    """Workers finish in any order; later stages read in one."""
    for number in (2, 0, 1):
        run.write_table(f"methods/ards/scores/part-{number:05d}.parquet", rows(2, first=10 * number), "stamp", 0.0)
    parts = run.parts("methods/ards/scores")
    assert [part.name for part in parts] == ["part-00000", "part-00001", "part-00002"]
    assert run.read_columns(parts, ["row"])["row"].to_pylist() == [0, 1, 10, 11, 20, 21]
    assert run.parts("signals") == []


def test_parts_before_there_is_anything(run: RunDirectory) -> None:
    """A run that begins has no manifest."""
    assert run.parts("signals") == []
    assert run.part("mixture.json") is None
    run.discard("signals")
    run.delete("mixture.json")


def test_discard_keeps_what_is_of_this_run(run: RunDirectory) -> None:
    """Parts that other settings made go; those of these settings are hours of work, and stay."""
    for number, stage in enumerate(["old", "new", "old"]):
        run.write_table(f"methods/ards/clusters/part-{number:05d}.parquet", rows(), stage, 0.0)
    run.write_table("methods/ards/clusters/centroids.parquet", rows(), "old", 0.0)
    run.write_table("methods/ards/scores/part-00000.parquet", rows(), "old", 0.0)
    run.discard("methods/ards/clusters", keep="new")
    assert [part.name for part in run.parts("methods/ards/clusters")] == ["part-00001"]
    assert files(run) == {
        "methods/ards/clusters/part-00001.parquet",
        "manifest/methods/ards/clusters/parts.json",
        "methods/ards/scores/part-00000.parquet",
        "manifest/methods/ards/scores/part-00000.json",
    }
    run.discard("methods/ards/clusters")
    assert run.parts("methods/ards/clusters") == []
    assert len(run.parts("methods/ards/scores")) == 1


def test_clear_touches_nothing_foreign(run: RunDirectory) -> None:
    """`--fresh` in a folder where the user keeps notes must not take them along."""
    run.write_table("methods/ards/scores/part-00000.parquet", rows(), "stamp", 0.0)
    for path in ("run.json", "config.yaml", "failures.jsonl", "results.json", "methods/ards/mixture.json"):
        run.write_bytes(path, b"{}")
    foreign = {"notes.txt": b"mine", "plots/a.png": b"mine", "mixture.json.bak": b"mine"}
    for path, content in foreign.items():
        run.write_bytes(path, content)
    run.clear()
    assert content_of(run) == foreign | {"run.json": b"{}"}
    run.clear()


def test_a_folder_that_holds_something_else_is_refused(url: str) -> None:
    """A slip in --output would mix a run with someone's data."""
    run = RunDirectory(url)
    run.prepare()
    run.write_bytes("thesis.tex", b"mine")
    with pytest.raises(SettingsError, match=r"holds something else \(thesis.tex\)"):
        RunDirectory(url).prepare()
    run.write_bytes("run.json", b"{}")
    RunDirectory(url).prepare()


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    """Also with what file browsers leave in it."""
    (tmp_path / ".DS_Store").touch()
    RunDirectory(str(tmp_path)).prepare()


def test_a_file_as_output_is_refused(tmp_path: Path) -> None:
    """Where the folder cannot be, the user learns it before hours of scoring."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SettingsError, match="is a file"):
        RunDirectory(str(tmp_path / "file")).prepare()
    with pytest.raises(SettingsError, match="cannot be made"):
        RunDirectory(str(tmp_path / "file" / "below")).prepare()
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("output", ["locked", "locked/run"])
def test_a_folder_that_may_not_be_entered_is_refused(output: str) -> None:
    """On shared machines folders are others': a wrong output would pass for a failure, and name no way out."""
    # Root enters everything, so it becomes somebody else; pytest's own folders are root's alone.
    script = (
        "import os, sys\n"
        "from ards_ray.errors import SettingsError\n"
        "from ards_ray.run.directory import RunDirectory\n"
        "if not os.getuid():\n"
        "    os.setuid(65534)\n"
        "try:\n"
        "    RunDirectory(sys.argv[1]).prepare()\n"
        "except SettingsError as error:\n"
        "    print(error)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        os.mkdir(f"{folder}/locked", mode=0)
        path = f"{folder}/{output}"
        ended = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert f"{path}: the output folder cannot be made or looked into" in ended.stdout
    assert "name another" in ended.stdout


@pytest.mark.parametrize("url", ["nonsense://somewhere/run", "memory"])
def test_locations(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown scheme is a wrong setting; a name without one is a folder here, wherever the job's workers start."""
    monkeypatch.chdir(tmp_path)
    if "://" in url:
        with pytest.raises(SettingsError, match="cannot be opened"):
            RunDirectory(url)
    else:
        assert RunDirectory(url).url == str(tmp_path / "memory")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert locate("~/run").path == str(tmp_path / "home" / "run")


@pytest.mark.parametrize("damage", ["empty", "cut", "overwritten"])
def test_damaged_tables_are_named(run: RunDirectory, damage: str) -> None:
    """Copies break off: a traceback out of Arrow does not say which of thousands of files it was."""
    part = run.write_table("methods/ards/scores/part-00000.parquet", rows(), "stamp", 0.0)
    content = run.read_bytes(part.path)
    damaged = {"empty": b"", "cut": content[: len(content) // 2], "overwritten": b"text " * len(content)}[damage]
    overwrite(run, part.path, damaged)
    with pytest.raises(ArdsError, match=r"methods/ards/scores/part-00000.parquet: damaged"):
        run.read_table(part.path)
    with pytest.raises(ArdsError, match=r"part-00000.parquet"):
        run.read_columns([part], ["row"])


def test_damage_inside_a_table_is_named(tmp_path: Path) -> None:
    """Arrow reports a damaged page in another way than a damaged end."""
    run = RunDirectory(str(tmp_path))
    part = run.write_table("methods/ards/scores/part-00000.parquet", rows(500), "stamp", 0.0)
    content = bytearray(run.read_bytes(part.path))
    content[8:40] = b"\xff" * 32
    overwrite(run, part.path, bytes(content))
    with pytest.raises(ArdsError, match=r"methods/ards/scores/part-00000.parquet: damaged"):
        run.read_table(part.path)


@pytest.mark.parametrize("content", [b"", b'{"path": "signals', b"\xff\xfe"])
def test_damaged_json_is_named(run: RunDirectory, content: bytes) -> None:
    """The same for manifest entries."""
    part = run.write_table("methods/ards/scores/part-00000.parquet", rows(), "stamp", 0.0)
    overwrite(run, "manifest/methods/ards/scores/part-00000.json", content)
    with pytest.raises(ArdsError, match=r"manifest/methods/ards/scores/part-00000.json: not valid JSON"):
        run.part(part.path)
    with pytest.raises(ArdsError, match=r"manifest/methods/ards/scores/part-00000.json: not valid JSON"):
        run.parts("methods/ards/scores")


@pytest.mark.parametrize(
    ("path", "content", "problem"),
    [
        ("methods/ards/scores/part-00000.parquet", [], "no object"),
        ("methods/ards/scores/part-00000.parquet", {"rows": None}, "'rows' is missing"),
        ("methods/ards/scores/part-00000.parquet", {"details": []}, "'details' is missing or of the wrong type"),
    ],
)
def test_a_manifest_entry_that_lacks_something_is_named(
    run: RunDirectory, path: str, content: Any, problem: str
) -> None:
    """Later stages take it for granted: a traceback would name none of the thousands of entries."""
    part = run.write_table(path, rows(), "stamp", 0.0)
    entry = f"manifest/{path.rsplit('.')[0]}.json"
    overwrite(run, entry, json.dumps(entry_of(part) | content if isinstance(content, dict) else content).encode())
    with pytest.raises(ArdsError, match=rf"{entry}: damaged \(.*{problem}.*delete it and run the same command again"):
        run.part(path)


def test_a_missing_file_is_not_called_damaged(run: RunDirectory) -> None:
    """The advice for a damaged file would be wrong."""
    with pytest.raises(FileNotFoundError):
        run.read_table("signals/part-00000.parquet")


def test_json_keeps_every_character(run: RunDirectory) -> None:
    """Names and errors are in every language."""
    content: dict[str, Any] = {"é": ["漢字", None, 1.5], "a": {"b": True}}
    run.write_json("summary.json", content)
    assert run.read_json("summary.json") == content
    assert "漢字".encode() in run.read_bytes("summary.json")
