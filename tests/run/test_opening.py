"""Opening a run: what is refused, what is removed, and what is made again."""

from pathlib import Path

import pyarrow as pa
import pytest

from ards_ray.errors import ArdsError, RunHeld, SettingsError
from ards_ray.run.directory import RunDirectory
from ards_ray.run.opening import Kind, open_run
from ards_ray.run.state import RunState

TABLES: dict[Kind, str] = {"selection": "conversations", "evaluation": "answers"}
INPUTS = {"seed": 42}


def made(folder: Path, kind: Kind) -> RunDirectory:
    """A run whose first stage is finished: two parts of three rows."""
    run = RunDirectory(str(folder))
    run.prepare()
    state = RunState(run)
    stamp = state.start(TABLES[kind], INPUTS)
    for name in ("part-00000", "part-00001"):
        run.write_table(f"{TABLES[kind]}/{name}.parquet", pa.table({"row": [1, 2, 3]}), stamp, 0.0, {"formats": {}})
    state.finish(TABLES[kind], 1.0)
    return run


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    ("kind", "other", "said"),
    [("selection", "evaluation", "holds an evaluation"), ("evaluation", "selection", "holds a selection")],
)
def test_a_run_of_the_other_kind_is_refused(tmp_path: Path, kind: Kind, other: Kind, said: str, fresh: bool) -> None:
    """A slip in the output's name, with --fresh or without, would cost a run of days."""
    run = made(tmp_path, other)
    with pytest.raises(SettingsError, match=said), open_run(run.url, kind, fresh, print):
        pass
    assert len(run.parts(TABLES[other])) == 2


@pytest.mark.parametrize("kind", ["selection", "evaluation"])
def test_a_whole_run_is_left_as_it_is(tmp_path: Path, kind: Kind) -> None:
    """Parts that are whole would be made again at every start; a file of another driver's would be taken over."""
    run = made(tmp_path, kind)
    said: list[str] = []
    with open_run(run.url, kind, fresh=False, say=said.append) as opened:
        assert opened.directory.url == run.url
        assert opened.state.is_done(TABLES[kind], INPUTS)
        with pytest.raises(RunHeld), open_run(run.url, kind, fresh=False, say=said.append):
            pass
    assert said == []
    assert len(run.parts(TABLES[kind])) == 2


@pytest.mark.parametrize("kind", ["selection", "evaluation"])
def test_a_part_that_is_not_whole_is_made_again(tmp_path: Path, kind: Kind) -> None:
    """A part cut short by a full disk would be read, or its stage would count as done without it."""
    run = made(tmp_path, kind)
    path = f"{TABLES[kind]}/part-00001.parquet"
    (tmp_path / path).write_bytes(b"PAR1")
    stray = tmp_path / TABLES[kind] / "part-00002.parquet"
    stray.write_bytes(b"PAR1")
    said: list[str] = []
    with open_run(run.url, kind, fresh=False, say=said.append) as opened:
        assert not opened.state.is_done(TABLES[kind], INPUTS)
        assert [part.name for part in run.parts(TABLES[kind])] == ["part-00000"]
    (line,) = said
    assert line.startswith(f"{run.url}/{path}: 4 bytes, and the manifest says ")
    assert line.endswith("; it is made again.")
    assert not stray.exists()
    assert not RunState(run).is_done(TABLES[kind], INPUTS)


@pytest.mark.parametrize("kind", ["selection", "evaluation"])
def test_parts_that_are_gone_with_their_entry_are_made_again(tmp_path: Path, kind: Kind) -> None:
    """A stage would count as done without some of its rows."""
    run = made(tmp_path, kind)
    run.drop(run.parts(TABLES[kind])[0])
    said: list[str] = []
    with open_run(run.url, kind, fresh=False, say=said.append) as opened:
        assert not opened.state.is_done(TABLES[kind], INPUTS)
    assert said == [f"{run.url}: files of {TABLES[kind]} are gone from the manifest; they are made again."]


def test_fresh_reads_and_removes_nothing(tmp_path: Path) -> None:
    """A run that is damaged could not be thrown away; a slip beside --fresh would throw a good one away."""
    run = made(tmp_path, "selection")
    (tmp_path / "conversations" / "part-00002.parquet").write_bytes(b"PAR1")
    for damaged in (tmp_path / "run.json", tmp_path / "manifest" / "conversations-part-00000.json"):
        damaged.write_text("{")
    with pytest.raises(ArdsError, match="not valid JSON"), open_run(run.url, "selection", fresh=False, say=print):
        pass
    with open_run(run.url, "selection", fresh=True, say=print) as opened:
        assert opened.state.stages == {}
    assert len(list((tmp_path / "conversations").iterdir())) == 3


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    """The files of a user who names the wrong folder would lie between those of a run, or go with them."""
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(SettingsError, match=r"thesis\.tex"), open_run(str(tmp_path), "selection", True, print):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
