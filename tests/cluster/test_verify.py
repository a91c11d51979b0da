"""Verify finds what is wrong with a run, and names the file; status tells how far it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from tables import SIGNALS, change_entry, read_entries, remove_entry

from ards_ray.cli import main
from ards_ray.run.directory import RunDirectory

CLEAN = "signals/clean/part-00001.parquet"
VECTORS = "signals/vectors/part-00001.parquet"
SUMMARY = "methods/ards/summary.json"
SCORES = "methods/ards/scores/part-00000.parquet"
SUBGROUPS = "methods/ards/subgroups/subgroups.parquet"


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Exit code and text of a command on a run."""

    def run(command: str, directory: object) -> tuple[int, str]:
        capsys.readouterr()
        code = main([command, str(directory)])
        printed = capsys.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    return run


def rewrite(run: Path, path: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a table and its manifest entry, so that only what it says is wrong."""
    directory = RunDirectory(str(run))
    part = directory.part(path)
    assert part is not None
    table = change(pq.read_table(run / path))
    groups = list(part.details["formats"].values()) if "vector" in table.column_names else []
    directory.write_table(path, table, part.fingerprint, 0.0, part.details, groups)


def entry(run: Path, path: str, **values: object) -> None:
    change_entry(run, path, lambda entry: entry | values)


def set_value(table: pa.Table, column: str, value: object, row: int = 0) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    index = table.schema.get_field_index(column)
    return table.set_column(index, table.schema.field(column), pa.array(values, type=table.schema.field(column).type))


def flip(run: Path) -> None:
    content = bytearray((run / VECTORS).read_bytes())
    content[len(content) // 2] ^= 1
    (run / VECTORS).write_bytes(content)


def cut(run: Path) -> None:
    content = (run / VECTORS).read_bytes()
    (run / VECTORS).write_bytes(content[:-100])


def change_summary(run: Path) -> None:
    summary = json.loads((run / SUMMARY).read_text())
    (run / SUMMARY).write_text(json.dumps(summary | {"selected": summary["selected"] + 1}))


def change_run_file(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    content["stages"]["signals/corrupted"]["inputs"]["seed"] = 7
    (run / "run.json").write_text(json.dumps(content))


def repeat_row(run: Path) -> None:
    rewrite(run, CLEAN, lambda table: set_value(table, "row", table["row"][1].as_py()))


def shorten(run: Path) -> None:
    rewrite(run, "methods/ards/ranking/part-00000.parquet", lambda table: table.slice(1))


def spoil_loss(run: Path) -> None:
    rewrite(run, CLEAN, lambda table: set_value(table, "clean_loss", float("nan")))


def spoil_vector(run: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        vectors = table["vector"].to_pylist()
        vectors[0][3] = float("inf")
        index = table.schema.get_field_index("vector")
        return table.set_column(index, "vector", pa.array(vectors, type=table.schema.field("vector").type))

    rewrite(run, VECTORS, change)


def spoil_status(run: Path) -> None:
    rewrite(run, CLEAN, lambda table: set_value(table, "status", "failed"))


def other_type(run: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(0, "row", pc.cast(table["row"], pa.int32()))

    rewrite(run, SCORES, change)


def spoil_weight(run: Path) -> None:
    rewrite(run, SUBGROUPS, lambda table: set_value(table, "weight", 0.9))


def empty_summary(run: Path) -> None:
    (run / SUMMARY).write_text("{}")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit flipped": (flip, f"{VECTORS}: its checksum is not the manifest's"),
    "cut": (cut, f"{VECTORS}: "),
    "gone": (lambda run: (run / CLEAN).unlink(), f"{CLEAN}: missing"),
    "not listed": (lambda run: remove_entry(run, SCORES), f"{SCORES}: not in the manifest"),
    "another stage's": (
        lambda run: entry(run, "methods/ards/clusters/part-00000.parquet", fingerprint="f" * 64),
        "methods/ards/clusters/part-00000.parquet: made with other settings",
    ),
    "rows": (lambda run: entry(run, CLEAN, rows=1), f"{CLEAN}: "),
    "an empty summary": (empty_summary, f"{SUMMARY}: damaged ('method' is missing"),
    "a sum": (change_summary, f"{SUMMARY}: selected: "),
    "inputs": (change_run_file, "run.json: the fingerprint of signals/corrupted is not that of its inputs"),
    "a row twice": (repeat_row, f"{CLEAN}: row "),
    "a row lost": (shorten, "methods/ards/ranking: 1 rows are missing"),
    "a loss": (spoil_loss, f"{CLEAN}: clean_loss is not finite"),
    "a vector": (spoil_vector, f"{VECTORS}: a vector is not finite"),
    "a status": (spoil_status, f"{CLEAN}: scored and failed rows are not as many"),
    "a type": (other_type, f"{SCORES}: not the schema of its table: row"),
    "a weight": (spoil_weight, f"{SUBGROUPS}: the weights add up to"),
}


def test_a_finished_run_is_sound(finished: Path, check: Callable[..., tuple[int, str]]) -> None:
    """A false alarm would make people throw away a week of scoring."""
    code, text = check("verify", finished)
    assert code == 0, text
    assert "Sound: " in text
    assert "140 conversations" in text


@pytest.mark.parametrize(("damage", "named"), DAMAGES.values(), ids=list(DAMAGES))
def test_what_is_wrong_is_found_and_named(
    copied: Path, check: Callable[..., tuple[int, str]], damage: Callable[[Path], object], named: str
) -> None:
    """A model trained on a mixture of damaged tables is damaged, and nobody knows why."""
    damage(copied)
    code, text = check("verify", copied)
    assert code == 1, text
    assert f"{copied}/{named}" in text


LOST = [
    "conversations/part-00001.parquet",
    "signals/clean/part-00000.parquet",
    "signals/corrupted/part-00001.parquet",
    "signals/vectors/part-00003.parquet",
    "methods/ards/clusters/centroids.parquet",
    "methods/ards/clusters/part-00000.parquet",
    "methods/ards/subgroups/members.parquet",
    SCORES,
    "methods/ards/ranking/part-00000.parquet",
    "methods/ards/mixture.json",
]


@pytest.mark.parametrize("path", LOST)
def test_what_is_lost_with_its_entry_is_named_and_nothing_else(
    copied: Path, check: Callable[..., tuple[int, str]], path: str
) -> None:
    """Of a copy that broke off nothing tells that there was more; and whoever deletes sound files that are named
    throws away what was scored."""
    remove_entry(copied, path)
    code, text = check("verify", copied)
    assert code == 1
    assert f"{copied}/{path}: not in the manifest" in text
    assert "1 problems" in text
    (copied / path).unlink()
    code, text = check("verify", copied)
    assert code == 1
    assert f"{copied}/{path}: missing, and no longer in the manifest" in text
    assert "1 problems" in text


def test_a_file_that_only_some_settings_make_is_looked_for_where_they_do(
    copied: Path, check: Callable[..., tuple[int, str]], job: Any
) -> None:
    """Without its centre a run's scores cannot be explained; a run without centring has none and is sound."""
    center = "methods/ards/clusters/center.parquet"
    assert job(copied, settings=["vectors.center=true"]).code == 0
    code, text = check("verify", copied)
    assert code == 0, text
    remove_entry(copied, center)
    code, text = check("verify", copied)
    assert code == 1
    assert f"{copied}/{center}: not in the manifest" in text
    assert "1 problems" in text


def test_a_lost_file_that_nothing_tells_of_is_counted(copied: Path, check: Callable[..., tuple[int, str]]) -> None:
    """The last of a table's parts leaves no gap, and the run would pass for sound without it."""
    folders = ("conversations", *(f"signals/{name}" for name in SIGNALS))
    for folder in folders:
        path = f"{folder}/part-00003.parquet"
        remove_entry(copied, path)
        (copied / path).unlink()
    code, text = check("verify", copied)
    assert code == 1
    for folder in folders:
        assert f"{copied}/run.json: {folder} finished 4 files, and the manifest names 3" in text
    assert "4 problems" in text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "missing"),
        ("{", "not the settings of a run (while parsing"),
        ("", "not the settings of a run (it is no object)"),
        ("seed: 42", "not the settings of a run ('corpus' is missing"),
    ],
)
def test_settings_that_cannot_be_read_are_named_and_written_again(
    copied: Path, check: Callable[..., tuple[int, str]], job: Any, content: str | None, problem: str
) -> None:
    """They tell how the mixture was made, and other corpora cannot be scored against its subgroups without them."""
    file = copied / "config.yaml"
    before = yaml.safe_load(file.read_text())
    file.unlink() if content is None else file.write_text(content)
    code, text = check("verify", copied)
    assert code == 1
    assert f"{copied}/config.yaml: {problem}" in text
    assert job(copied).code == 0
    assert yaml.safe_load(file.read_text()) == before | {"output": str(copied)}


def test_files_of_another_shape_are_named(copied: Path, check: Callable[..., tuple[int, str]]) -> None:
    """A traceback names no file, and whoever looks after a run by a script gets nothing to go by."""
    entry(copied, CLEAN, details={})
    for command in ("verify", "status"):
        code, text = check(command, copied)
        assert code == 1
        assert f"error: {copied}: the manifest's entry of {CLEAN} is damaged ('ok' is missing" in text
    (copied / "run.json").write_text("[]")
    for command in ("verify", "status"):
        code, text = check(command, copied)
        assert code == 1
        assert f"error: {copied}/run.json: damaged (it is no object)" in text


def test_a_summary_of_another_shape_is_named_and_made_again(copied: Path, job: Any) -> None:
    """The job that finds it would end in a traceback at every start."""
    before = (copied / SUMMARY).read_bytes()
    empty_summary(copied)
    outcome = job(copied)
    assert outcome.code == 1
    assert f"error: {copied}/{SUMMARY}: damaged ('method' is missing" in outcome.text
    (copied / SUMMARY).unlink()
    assert job(copied).code == 0
    keys = ("conversations", "selected", "mixture", "subgroups")
    again = json.loads((copied / SUMMARY).read_text())
    assert [again[key] for key in keys] == [json.loads(before)[key] for key in keys]


def test_no_run(tmp_path: Path, check: Callable[..., tuple[int, str]]) -> None:
    """A mistyped path is not a sound run."""
    for command in ("verify", "status"):
        code, text = check(command, tmp_path)
        assert code == 1
        assert f"{tmp_path}: no run is there" in text


def test_status_of_a_run_at_work(copied: Path, check: Callable[..., tuple[int, str]]) -> None:
    """Whoever asks from another machine has only the folder."""
    content = json.loads((copied / "run.json").read_text())
    for stage in ("clusters", "subgroups", "scores", "mixture"):
        del content["stages"][f"methods/ards/{stage}"]
    for name in SIGNALS:
        content["stages"][f"signals/{name}"]["complete"] = False
        remove_entry(copied, f"signals/{name}/part-00001.parquet")
    (copied / "run.json").write_text(json.dumps(content))
    entries = [entry for entry in read_entries(copied) if entry["path"].startswith("signals/clean/")]
    rows, parts = sum(entry["rows"] for entry in entries), len(entries)
    code, text = check("status", copied)
    assert code == 0, text
    for name in SIGNALS:
        assert f"signals/{name} stopped {rows} 140" in text
    assert f"Shards: {parts} of {parts + 1} scored." in text
    assert "methods/ards/mixture not begun" in text
    assert "No driver is at work." in text
