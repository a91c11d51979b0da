"""Failures belong to a signal: who does not use it, does not lose the conversation."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from loops import loop_select, selected_rows
from rich.console import Console
from tables import read_summary, read_table, times

from ards_ray.jobs.verify import verify
from ards_ray.signals import score

# Each is four tokens of the tiny model, a letter is one.
LONG = "🙂🙃😀😁😂😃😄"


def statuses(run: Path, signal: str) -> dict[int, str]:
    table = read_table(run, f"signals/{signal}")
    return dict(zip(table["row"].to_pylist(), table["status"].to_pylist(), strict=True))


def failed(run: Path, signal: str) -> set[int]:
    return {row for row, status in statuses(run, signal).items() if status == "failed"}


def listed(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "failures.jsonl").read_text().splitlines()]


def assert_ards_left_out(run: Path, rows: set[int]) -> None:
    """For ARDS they failed, for the random mixture they did not."""
    verify(str(run), Console(quiet=True))
    summary = read_summary(run)
    assert (summary["failed"], summary["scored"]) == (len(rows), 140 - len(rows))
    assert read_table(run, "methods/ards/ranking")["row"].to_pylist() == [n for n in range(140) if n not in rows]
    assert not rows & {*selected_rows(run, "ards")}
    summary = read_summary(run, "random")
    assert (summary["failed"], summary["scored"], summary["failures"]) == (0, 140, {})
    assert read_table(run, "methods/random/ranking").num_rows == 140
    assert {(line["row"], line["signal"]) for line in listed(run)} == {(row, "corrupted") for row in rows}


LIMITS = {"limits__failed_fraction": 0.5, "attacks__symbols": LONG, "attacks__permutation": False}


def length_of_a_choice(run: Path) -> int:
    """The largest sequence of a multiple choice of one round: with longer symbols all of its answer is cut off."""
    lengths = read_table(run, "signals/clean")["sequence_length"].to_pylist()
    rows = read_table(run, "conversations").to_pylist()
    single = [len(json.loads(row["record"])["conversations"]) == 2 for row in rows]
    return max(lengths[row["row"]] for row in rows if row["format"] == "choice" and single[row["row"]])


def test_a_corrupted_version_that_is_too_long(demo_inputs: Any, tmp_path: Path) -> None:
    """Its clean version is as good as any other, whether both are prepared together or one after the other."""
    plain = tmp_path / "plain"
    loop_select(demo_inputs, plain)
    limit = length_of_a_choice(plain)
    run = tmp_path / "run"
    loop_select(demo_inputs, run, "ards,random", limits__positions=limit, **LIMITS)
    rows = failed(run, "corrupted")
    alone = rows - failed(run, "clean")
    assert alone
    assert failed(run, "clean") == failed(run, "vectors")
    assert all(line["error"].startswith("answer cut off: ") for line in listed(run))
    assert {line["row"] for line in listed(run) if line["signal"] == "corrupted"} == alone
    assert read_summary(run)["failures"] == {"answer cut off": len(rows)}
    assert read_summary(run, "random")["failed"] == 0
    # The clean signals are those of a run that asked for nothing else first.
    clean = tmp_path / "clean"
    loop_select(demo_inputs, clean, limits__positions=limit, subgroups__candidates=2, **LIMITS)
    assert statuses(clean, "clean") == statuses(run, "clean")
    assert statuses(clean, "vectors") == statuses(run, "vectors")
    verify(str(run), Console(quiet=True))


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the model fail where it reads the corrupted versions of some rows, as one without enough memory does."""
    scored = score.score_shard

    def install(*rows: int) -> None:
        def failing(model: Any, settings: Any, shard: Any, **rest: Any) -> Any:
            done = scored(model, settings, shard, **rest)
            for item in done.scores:
                if item.item.row in rows:
                    for version in item.corrupted:
                        object.__setattr__(version, "error", "does not fit the memory: here")
            return done

        monkeypatch.setattr("ards_ray.signals.loop.score_shard", failing if rows else scored)

    return install


@pytest.fixture(scope="module")
def corruptible(demo_inputs: Any, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A run without failures, and rows that can be corrupted."""
    run = tmp_path_factory.mktemp("failures") / "run"
    loop_select(demo_inputs, run, "ards,random")
    rows = [row for row, status in statuses(run, "corrupted").items() if status == "ok"]
    return SimpleNamespace(run=run, rows=rows)


def test_a_failure_of_one_signal_and_its_retry(
    demo_inputs: Any, corruptible: Any, refuse: Callable[..., None], tmp_path: Path
) -> None:
    """The others are ok and stay as they are; retried, the run ends as if nothing had happened."""
    run = tmp_path / "run"
    rows = {*corruptible.rows[3:6]}
    refuse(*rows)
    loop_select(demo_inputs, run, "ards,random")
    assert (failed(run, "clean"), failed(run, "vectors"), failed(run, "corrupted")) == (set(), set(), rows)
    assert_ards_left_out(run, rows)
    # Another method selected alone does not make them forgotten.
    loop_select(demo_inputs, run, "random")
    assert {line["row"] for line in listed(run)} == rows
    verify(str(run), Console(quiet=True))

    refuse()
    files = times(run, "signals/clean", "signals/vectors", "methods/random")
    assert not loop_select(demo_inputs, run, "ards,random").worked
    loop_select(demo_inputs, run, "ards,random", retry_failed=True)
    assert failed(run, "corrupted") == set()
    assert listed(run) == []
    assert times(run, "signals/clean", "signals/vectors", "methods/random") == files
    assert selected_rows(run, "ards") == selected_rows(corruptible.run, "ards")
    assert read_summary(run)["failed"] == 0
    verify(str(run), Console(quiet=True))


def test_a_missing_picture_fails_for_every_signal(demo_inputs: Any, tmp_path: Path) -> None:
    """Mended, only its conversations are computed; methods without signals never missed them."""
    images = shutil.copytree(demo_inputs.images, tmp_path / "images")
    inputs = SimpleNamespace(corpus=demo_inputs.corpus, images=images, model=demo_inputs.model)
    records = json.loads(demo_inputs.corpus.read_text())
    name = next(record["image"] for record in records if "image" in record)
    rows = {number for number, record in enumerate(records) if record.get("image") == name}
    (images / name).rename(tmp_path / "away.png")
    run = tmp_path / "run"
    loop_select(inputs, run, "ards,random")
    assert all(failed(run, signal) == rows for signal in ("clean", "vectors", "corrupted"))
    assert {(line["row"], line["signal"], line["error"]) for line in listed(run)} == {
        (row, "clean", f"image not found: {name}") for row in rows
    }
    assert read_summary(run)["failed"] == len(rows)
    assert read_summary(run, "random")["failed"] == 0
    (tmp_path / "away.png").rename(images / name)
    loop_select(inputs, run, "ards,random", retry_failed=True)
    assert all(failed(run, signal) == set() for signal in ("clean", "vectors", "corrupted"))
    verify(str(run), Console(quiet=True))
