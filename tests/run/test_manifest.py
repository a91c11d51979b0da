"""The manifest: entries of finished parts, gathered so that large runs are read in a few requests."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ards_ray.benchmark.stores import CountedFileSystem
from ards_ray.errors import ArdsError
from ards_ray.run.directory import Part, RunDirectory
from ards_ray.run.entry import entry_of
from ards_ray.run.files import RunFiles
from ards_ray.run.state import RunState

TABLE = "methods/ards/scores"
GATHERED = f"manifest/{TABLE}/parts.json"
SIZE = 4


def path_of(number: int, table: str = TABLE) -> str:
    return f"{table}/part-{number:05d}.parquet"


def entry_path(number: int, table: str = TABLE) -> str:
    return f"manifest/{table}/part-{number:05d}.json"


def write(run: RunDirectory, number: int, stage: str = "stamp", rows: int = 1, table: str = TABLE) -> Part:
    return run.write_table(path_of(number, table), pa.table({"row": range(rows)}), stage, 0.0)


def entries(run: RunDirectory) -> set[str]:
    return set(run.walk(["manifest"]))


@pytest.fixture
def parts(run: RunDirectory) -> list[Part]:
    """Four parts whose entries are gathered."""
    RunState(run).save()
    written = [write(run, number) for number in range(SIZE)]
    run.gather()
    return written


def test_a_finished_stage_has_one_entry_file_for_each_table(run: RunDirectory) -> None:
    """A run of 40,000 shards would be opened with 200,000 reads."""
    state = RunState(run)
    stage = state.start("scores", {"version": 1})
    written = [write(run, number, stage) for number in range(SIZE)]
    centroids = run.write_table("methods/ards/scores/centroids.parquet", pa.table({"row": [0]}), stage, 0.0)
    assert entries(run) == {*map(entry_path, range(SIZE)), f"manifest/{TABLE}/centroids.json"}
    state.finish("scores", 1.0)
    assert entries(run) == {GATHERED, f"manifest/{TABLE}/centroids.json"}
    for reader in (run, RunDirectory(run.url)):
        assert reader.parts(TABLE) == written
        assert reader.finished() == [centroids, *written]
        assert [reader.part(part.path) for part in written] == written
        assert reader.part(path_of(SIZE)) is None
    assert state.stages["scores"].files == SIZE + 1
    assert state.reopen_incomplete() == []


def test_the_gathered_file_is_plain(run: RunDirectory, parts: list[Part]) -> None:
    """People read it with what they have, and find a part's line with grep."""
    lines = run.read_bytes(GATHERED).decode().splitlines()
    assert json.loads(run.read_bytes(GATHERED)) == [entry_of(part) for part in parts]
    assert [json.loads(line.rstrip(",")) for line in lines[1:-1]] == [entry_of(part) for part in parts]


def crash_at(monkeypatch: pytest.MonkeyPatch, method: str, call: int) -> None:
    """Let a method of the run's files fail at a call, as if the process were killed there, and at all later ones."""
    original: Callable[..., Any] = getattr(RunFiles, method)
    calls = 0

    def failing(self: RunFiles, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > call:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(RunFiles, method, failing)


@pytest.mark.parametrize(("method", "call"), [("write_bytes", 0), *(("delete", call) for call in range(SIZE))])
def test_gathering_can_be_interrupted(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, method: str, call: int
) -> None:
    """A driver that is killed while it gathers would lose finished parts: days of work."""
    written = [write(run, number) for number in range(SIZE)]
    with monkeypatch.context() as patch:
        crash_at(patch, method, call)
        with pytest.raises(KeyboardInterrupt):
            run.gather()
    assert (GATHERED in entries(run)) == (method == "delete")
    again = RunDirectory(run.url)
    assert again.parts(TABLE) == written
    assert again.sweep() == []
    assert entries(again) == {GATHERED}
    assert again.parts(TABLE) == RunDirectory(run.url).parts(TABLE) == written


def test_a_kill_between_the_gathered_file_and_the_entries_in_it(tmp_path: Path) -> None:
    """The same with a real kill, which runs no cleanup."""
    script = (
        "import os, signal\n"
        "from ards_ray.run.directory import RunDirectory\n"
        "RunDirectory.delete = lambda run, path: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"RunDirectory({str(tmp_path)!r}).gather()\n"
    )
    run = RunDirectory(str(tmp_path))
    written = [write(run, number) for number in range(SIZE)]
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    assert entries(run) == {GATHERED, *map(entry_path, range(SIZE))}
    assert run.parts(TABLE) == written
    run.sweep()
    assert entries(run) == {GATHERED}


def test_a_part_that_is_written_again(run: RunDirectory, parts: list[Part]) -> None:
    """`--retry-failed` rewrites single parts: the counts of before would be taken for those of the new file."""
    again = write(run, 1, rows=7)
    expected = [parts[0], again, *parts[2:]]
    assert entries(run) == {GATHERED, entry_path(1)}
    for reader in (run, RunDirectory(run.url)):
        assert reader.parts(TABLE) == expected
        assert reader.part(again.path) == again
        assert reader.finished() == expected
    run.gather()
    assert entries(run) == {GATHERED}
    assert run.parts(TABLE) == RunDirectory(run.url).parts(TABLE) == expected


@pytest.mark.parametrize("published", [False, True], ids=["before the file", "before its entry"])
def test_a_writer_that_is_killed_over_a_gathered_part(
    run: RunDirectory, parts: list[Part], monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    """The gathered entry would vouch for a file that is another one by now."""

    def interrupt(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if published:
            patch.setattr(RunDirectory, "record", interrupt)
        else:
            patch.setattr("pyarrow.parquet.ParquetWriter.write_table", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(run, 1, rows=7)
    expected = [parts[0], *parts[2:]]
    for reader in (run, RunDirectory(run.url)):
        assert reader.parts(TABLE) == expected
        assert reader.part(path_of(1)) is None
    assert run.sweep() == []
    assert entries(run) == {GATHERED}
    assert not run.exists(path_of(1))
    assert run.parts(TABLE) == RunDirectory(run.url).parts(TABLE) == expected


def test_the_own_entry_is_the_newer_one(run: RunDirectory, parts: list[Part]) -> None:
    """What a kill leaves of both must not bring back the part of before."""
    newer = entry_of(parts[2]) | {"rows": 7}
    run.write_json(entry_path(2), newer)
    assert [part.rows for part in run.parts(TABLE)] == [1, 1, 7, 1]
    assert [part.rows for part in run.finished()] == [1, 1, 7, 1]
    again = run.part(path_of(2))
    assert again is not None
    assert again.rows == 7


def test_dropped_parts_stay_dropped(run: RunDirectory, parts: list[Part]) -> None:
    """A lost file that its gathered entry brings back would be looked for at every start."""
    run.drop(parts[1])
    assert not run.exists(path_of(1))
    assert run.parts(TABLE) == RunDirectory(run.url).parts(TABLE) == [parts[0], *parts[2:]]
    run.gather()
    assert run.parts(TABLE) == [parts[0], *parts[2:]]
    run.sweep()
    assert entries(run) == {GATHERED}
    assert run.parts(TABLE) == RunDirectory(run.url).parts(TABLE) == [parts[0], *parts[2:]]


def test_a_lost_file_is_made_again(run: RunDirectory) -> None:
    """Its stage is opened again, and gathered again at its end."""
    state = RunState(run)
    stage = state.start("scores", {"version": 1})
    for number in range(SIZE):
        write(run, number, stage)
    state.finish("scores", 1.0)
    run.delete(path_of(1))
    state = RunState(RunDirectory(run.url))
    ((part, problem),) = state.run.sweep()
    assert (part.path, problem) == (path_of(1), "missing")
    state.reopen(part.fingerprint)
    state.run.drop(part)
    assert state.reopen_incomplete() == []
    assert not state.is_done("scores", {"version": 1})
    state.start("scores", {"version": 1})
    again = write(state.run, 1, stage, rows=7)
    state.finish("scores", 1.0)
    assert entries(run) == {GATHERED}
    assert RunDirectory(run.url).parts(TABLE)[1] == again
    assert RunState(run).reopen_incomplete() == []


def test_parts_that_are_gone_from_a_gathered_file_open_their_stage(run: RunDirectory) -> None:
    """Whoever deletes lines, or the file, must not be left with a mixture of what is left."""
    state = RunState(run)
    stage = state.start("scores", {"version": 1})
    for number in range(SIZE):
        write(run, number, stage)
    state.finish("scores", 1.0)
    content = run.read_json(GATHERED)
    run.write_json(GATHERED, content[1:])
    again = RunDirectory(run.url)
    assert again.sweep() == []
    assert RunState(again).reopen_incomplete() == ["scores"]
    assert not run.exists(path_of(0))


@pytest.mark.parametrize("keep", [None, "new"])
def test_discarding_gathered_parts(run: RunDirectory, parts: list[Part], keep: str | None) -> None:
    """Parts that other settings made would be taken for those of the new ones."""
    new = write(run, 1, "new"), write(run, SIZE, "new")
    run.write_table(f"{TABLE}/centroids.parquet", pa.table({"row": [0]}), "old", 0.0)
    run.discard(TABLE, keep)
    kept = list(new) if keep else []
    assert entries(run) == ({GATHERED} if keep else set())
    for reader in (run, RunDirectory(run.url)):
        assert reader.parts(TABLE) == reader.finished() == kept
    assert set(run.walk([TABLE])) == {part.path for part in kept}


@pytest.mark.parametrize("call", range(SIZE + 2))
def test_discarding_can_be_interrupted(run: RunDirectory, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """An entry without its file, or a file that passes for one of the new settings, would end the next start."""
    RunState(run).save()
    for number in range(SIZE):
        write(run, number, "old")
        if number == SIZE // 2:
            run.gather()
    kept = write(run, SIZE, "new")
    with monkeypatch.context() as patch:
        crash_at(patch, "delete", call)
        with pytest.raises(KeyboardInterrupt):
            run.discard(TABLE, keep="new")
    again = RunDirectory(run.url)
    assert again.sweep() == []
    again.discard(TABLE, keep="new")
    assert again.parts(TABLE) == RunDirectory(run.url).parts(TABLE) == [kept]
    assert set(run.walk([TABLE])) == {kept.path}


def test_a_part_that_is_withdrawn_may_be_at_work(run: RunDirectory, parts: list[Part]) -> None:
    """The driver gathers while workers write: what it forgets of a part that is being written would come back."""
    with run.publish(path_of(1)):
        driver = RunDirectory(run.url)
        write(driver, SIZE)
        driver.gather()
        assert driver.part(path_of(1)) is None
    assert RunDirectory(run.url).part(path_of(1)) is None
    assert [part.name for part in RunDirectory(run.url).parts(TABLE)] == [
        "part-00000",
        "part-00002",
        "part-00003",
        "part-00004",
    ]


def test_an_entry_that_comes_while_others_are_gathered(
    run: RunDirectory, parts: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that a worker finishes at that moment would be lost, and done again."""
    worker = RunDirectory(run.url)
    worker.drop(parts[1])
    write(worker, SIZE)
    gathering = run.write_bytes

    def recorded_before(path: str, content: bytes) -> None:
        gathering(path, content)
        write(worker, 1, rows=7)

    monkeypatch.setattr(run, "write_bytes", recorded_before)
    run.gather()
    assert [part.rows for part in RunDirectory(run.url).parts(TABLE)] == [1, 7, 1, 1, 1]


def test_entries_that_are_gathered_while_they_are_read(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` beside a job would end with a file that it could not find."""
    written = [write(run, number) for number in range(SIZE)]
    reader = RunDirectory(run.url)
    listed = reader.list

    def gathered_after(folder: str) -> Any:
        found = listed(folder)
        run.gather()
        return found

    monkeypatch.setattr(reader, "list", gathered_after)
    assert reader.parts(TABLE) == written


def test_a_gathered_file_of_another_process_is_seen(run: RunDirectory, parts: list[Part]) -> None:
    """What is kept in memory would hide what the driver has gathered since."""
    reader = RunDirectory(run.url)
    assert reader.parts(TABLE) == parts
    again = write(run, 1, rows=7)
    run.gather()
    assert reader.parts(TABLE) == [parts[0], again, *parts[2:]]
    assert reader.part(again.path) == again


def test_a_run_that_is_cleared_begins_anew(run: RunDirectory, parts: list[Part]) -> None:
    """`--fresh` would find parts that are gone."""
    run.clear()
    assert run.finished() == run.parts(TABLE) == []
    assert run.part(path_of(0)) is None
    again = write(run, 0)
    assert run.parts(TABLE) == [again]


ENTRY = entry_of(Part(path_of(0), 1, 1, "0", "stamp", 0.0, 0.0, {}))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (json.dumps([ENTRY]).encode()[:-3], "not valid JSON"),
        ({}, "it is no list"),
        (None, "it is no list"),
        ([[]], "entry 1: it is no object"),
        ([ENTRY, ENTRY | {"path": path_of(1), "rows": None}], "entry 2: 'rows' is missing or of the wrong type"),
        ([ENTRY | {"finished": "today"}], "entry 1: 'finished' is missing or of the wrong type"),
        ([ENTRY | {"details": []}], "entry 1: 'details' is missing or of the wrong type"),
        ([ENTRY, ENTRY], f"it names {path_of(0)} twice"),
        ([ENTRY | {"path": "methods/ards/clusters/part-00000.parquet"}], "is no part of this table"),
        ([ENTRY | {"path": f"{TABLE}/centroids.parquet"}], "is no part of this table"),
        ([ENTRY | {"path": f"{TABLE}/part-0/part-00000.parquet"}], "is no part of this table"),
        ([ENTRY | {"path": f"{TABLE}/part-../../../../mine.parquet"}], "is no part of this table"),
    ],
)
def test_a_damaged_gathered_file_is_named(run: RunDirectory, content: Any, problem: str) -> None:
    """All parts of a table hang on it: half of them, or those of elsewhere, would be deleted or trained on."""
    RunState(run).save()
    write(run, 0)
    written = content if isinstance(content, bytes) else json.dumps(content).encode()
    run.write_bytes(GATHERED, written)
    for read in (run.finished, run.sweep, lambda: run.parts(TABLE), lambda: run.part(path_of(1))):
        with pytest.raises(ArdsError) as raised:
            read()
        assert f"{run.url}/{GATHERED}: " in str(raised.value)
        assert problem in str(raised.value)
        assert "\n" not in str(raised.value)
    assert run.exists(path_of(0))


def test_parts_tell_when_they_were_finished(run: RunDirectory, parts: list[Part]) -> None:
    """`status` tells the rate by it, also of a run whose entries were gathered since."""
    assert [part.finished for part in RunDirectory(run.url).parts(TABLE)] == [part.finished for part in parts]
    now = os.stat(run.location.path).st_mtime if run.location.is_local else parts[-1].finished
    assert all(abs(part.finished - now) < 60 for part in parts)


DETAILS: dict[str, Any] = {
    **dict.fromkeys(("ok", "failed", "splits", "reused", "width"), 0),
    **{key: {} for key in ("reasons", "formats", "scored", "attacked")},
    "images": "",
}


@pytest.mark.parametrize("shards", [3, 30])
def test_a_finished_run_is_opened_with_a_read_for_each_table(tmp_path: Path, shards: int) -> None:
    """Something that is read for each part makes 200,000 requests of a large run: minutes before any work."""
    run = RunDirectory(str(tmp_path))
    state = RunState(run)
    tables = ("conversations", "signals/clean", TABLE)
    for table in tables:
        stage = state.start(table, {"table": table})
        for number in range(shards):
            run.write_table(path_of(number, table), pa.table({"row": [0]}), stage, 0.0, DETAILS)
        state.finish(table, 0.0)
    counts = CountedFileSystem.counts
    counts.clear()
    opened = RunDirectory(f"counted://{tmp_path}")
    opened.prepare()
    state = RunState(opened)
    assert opened.sweep() == []
    assert state.reopen_incomplete() == []
    assert [len(opened.parts(table)) for table in tables] == [shards] * len(tables)
    assert counts["objects read"] == 1 + len(tables)
    assert counts["writes"] == 0
    assert counts["looks"] < 10
    # The folders: the run's, three of tables and two above them, as often for the manifest, which is read twice, and
    # one of each table alone.
    assert counts["pages listed"] < 40


def test_an_open_run_reads_no_entry_twice(tmp_path: Path) -> None:
    """The entries of a run that was killed in the middle of a stage are gathered when it is opened again."""
    run = RunDirectory(str(tmp_path))
    state = RunState(run)
    stage = state.start("scores", {})
    for number in range(30):
        write(run, number, stage)
    opened = RunDirectory(f"counted://{tmp_path}")
    assert opened.sweep() == []
    CountedFileSystem.counts.clear()
    assert len(opened.parts(TABLE)) == 30
    assert len(RunDirectory(f"counted://{tmp_path}").parts(TABLE)) == 30
    assert CountedFileSystem.counts["objects read"] == 1
