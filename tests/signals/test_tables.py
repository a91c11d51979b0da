"""Each signal has a table and a fingerprint of its own: what changes touches only what depends on it."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loops import loop_select, mixture_bytes, single, table_digests
from rich.console import Console
from tables import read_summary, read_table, times

from ards_ray.errors import RunChanged
from ards_ray.jobs.verify import verify
from ards_ray.signals import score

SIGNALS = ("clean", "vectors", "corrupted")
CANDIDATES = 4


@dataclass
class Calls:
    """What the model was asked since the last look.

    Attributes:
        shards: For each call how many sequences it had, and of how many the vector was wanted.
    """

    shards: list[tuple[int, int]] = field(default_factory=list)

    def look(self) -> list[tuple[int, int]]:
        found, self.shards = self.shards, []
        return found


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """Counts what the model is asked, and lets it answer."""
    counted = Calls()
    asked = score.score_sequences

    def counting(model: Any, sequences: Any, pictures: Any, with_vector: Any, *rest: Any) -> Any:
        counted.shards.append((len(sequences), sum(with_vector)))
        return asked(model, sequences, pictures, with_vector, *rest)

    monkeypatch.setattr(score, "score_sequences", counting)
    return counted


@pytest.fixture(scope="module")
def finished(demo_inputs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of ARDS."""
    run = tmp_path_factory.mktemp("signals") / "run"
    loop_select(demo_inputs, run)
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "run")


def stamps(run: Path) -> dict[str, str]:
    """Fingerprints of the signals."""
    stages = json.loads((run / "run.json").read_text())["stages"]
    return {name: stages[f"signals/{name}"]["fingerprint"] for name in SIGNALS if f"signals/{name}" in stages}


def corruptible(run: Path) -> list[int]:
    table = read_table(run, "signals/corrupted")
    return [row["row"] for row in table.to_pylist() if row["status"] == "ok"]


def assert_sound(run: Path) -> None:
    verify(str(run), Console(quiet=True))


def test_rows_say_whether_the_signal_is_there(finished: Path) -> None:
    """Whoever reads a table with DuckDB must tell what failed from what does not apply."""
    conversations = read_table(finished, "conversations").to_pylist()
    for name in SIGNALS:
        table = read_table(finished, f"signals/{name}").to_pylist()
        assert [row["row"] for row in table] == list(range(140))
        for row in table:
            own = [value for key, value in row.items() if key not in ("row", "status", "error")]
            assert row["error"] is None
            assert all(value is not None for value in own) == (row["status"] == "ok")
            if row["status"] == "none":
                # Without a picture and without options nothing can be corrupted.
                assert name == "corrupted"
                assert own == [None] * len(own)
                assert conversations[row["row"]]["format"] == "text"


@pytest.mark.parametrize(
    ("setting", "value", "changed"),
    [
        ("attacks__noise", False, {"corrupted"}),
        ("attacks__symbols", "VWXYZ", {"corrupted"}),
        ("seed", 7, {"corrupted"}),
        ("proxy__vector", "last-token", {"vectors"}),
        ("limits__positions", 1024, {*SIGNALS}),
        ("score__temperature", 0.5, set()),
        ("mixture__budget", 0.1, set()),
    ],
)
def test_a_setting_touches_what_depends_on_it(
    demo_inputs: Any, run: Path, calls: Calls, setting: str, value: Any, changed: set[str]
) -> None:
    """Hours of a GPU: clean losses and vectors do not depend on the attacks, nor any signal on the budget."""
    before, files = stamps(run), times(run, "signals")
    if changed:
        with pytest.raises(RunChanged, match=setting.replace("__", ".")):
            loop_select(demo_inputs, run, **{setting: value})
        assert calls.look() == []
    loop_select(demo_inputs, run, fresh=bool(changed), **{setting: value})
    after = stamps(run)
    assert {name for name in SIGNALS if after[name] != before[name]} == changed
    now = times(run, "signals")
    assert {name.split("/")[1] for name in files if now.get(name) != files[name]} == changed
    asked = calls.look()
    assert bool(asked) == bool(changed)
    if changed == {"corrupted"}:
        # The clean versions are not asked again, nor any vector.
        counts = read_table(run, "signals/corrupted")["status"].to_pylist().count("ok")
        assert sum(sequences for sequences, _ in asked) == counts
        assert sum(vectors for _, vectors in asked) == 0
    if changed == {"vectors"}:
        assert [*map(sum, zip(*asked, strict=True))] == [140, 140]
    assert_sound(run)


def test_a_changed_attack_gives_what_a_run_of_its_own_gives(demo_inputs: Any, run: Path, tmp_path: Path) -> None:
    """Otherwise what a run says would depend on its history."""
    loop_select(demo_inputs, run, fresh=True, attacks__noise=False)
    loop_select(demo_inputs, tmp_path / "own", attacks__noise=False)
    assert_same_subgroups(run, tmp_path / "own")
    corruption = {*read_table(run, "signals/corrupted")["corruption"].to_pylist()}
    assert corruption == {None, "symbol+permutation"}


def assert_same_subgroups(run: Path, other: Path) -> None:
    """Same members and weights, same mixture; losses of another batch may differ in their last bits."""
    one, two = (single(folder, "methods/ards/subgroups/members") for folder in (run, other))
    for column in ("subgroup", "rank", "row", "version"):
        assert one[column].to_pylist() == two[column].to_pylist()
    for column in ("clean_loss", "corrupted_loss"):
        np.testing.assert_allclose(one[column].to_numpy(), two[column].to_numpy(), rtol=0, atol=1e-5)
    one, two = (single(folder, "methods/ards/subgroups/subgroups") for folder in (run, other))
    assert one["subgroup"].to_pylist() == two["subgroup"].to_pylist()
    np.testing.assert_allclose(one["weight"].to_numpy(), two["weight"].to_numpy(), rtol=0, atol=1e-6)
    assert mixture_bytes(run) == mixture_bytes(other)


def test_one_pass_computes_what_is_asked_and_missing(demo_inputs: Any, run: Path, tmp_path: Path, calls: Calls) -> None:
    """Each conversation goes through the model once, with its corrupted versions; what is there is not asked again."""
    shards = len([*(run / "signals" / "clean").glob("part-*.parquet")])
    own = tmp_path / "own"
    loop_select(demo_inputs, own)
    asked = calls.look()
    assert len(asked) == shards
    corrupted = len(corruptible(own))
    assert [*map(sum, zip(*asked, strict=True))] == [140 + corrupted, 140]
    # A method that wants nothing of the model asks nothing.
    loop_select(demo_inputs, own, "ards,random,full")
    assert calls.look() == []
    # A shard that was lost is computed again, no other.
    name = sorted(path.name for path in (run / "signals" / "clean").iterdir())[0]
    before = table_digests(run, "signals/clean")
    for signal in SIGNALS:
        (run / "signals" / signal / name).unlink()
    assert loop_select(demo_inputs, run).worked
    assert len(calls.look()) == 1
    assert table_digests(run, "signals/clean") == before
    assert mixture_bytes(run) == mixture_bytes(own)
    assert_sound(run)


def candidates_run(inputs: Any, output: Path, count: int = CANDIDATES, **settings: Any) -> Any:
    return loop_select(inputs, output, subgroups__candidates=count, **settings)


@pytest.fixture(scope="module")
def drawn(demo_inputs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that draws candidates from its start."""
    run = tmp_path_factory.mktemp("candidates") / "run"
    candidates_run(demo_inputs, run)
    return run


def test_candidates_give_what_all_losses_would_have_given(
    demo_inputs: Any, run: Path, drawn: Path, calls: Calls
) -> None:
    """Computing less must not choose otherwise: the same candidates are drawn whether all losses are known or not."""
    files = times(run, "signals")
    candidates_run(demo_inputs, run)
    assert calls.look() == []
    assert times(run, "signals") == files
    assert_same_subgroups(run, drawn)
    assert single(run, "methods/ards/candidates/candidates").equals(single(drawn, "methods/ards/candidates/candidates"))
    assert_sound(run)


def test_candidates_are_drawn_from_what_can_be_corrupted(demo_inputs: Any, tmp_path: Path) -> None:
    """Told by the text, before any loss is known: in a cluster only some conversations may have a corrupted version."""
    # Questions with more than three options then have no symbols to take.
    settings = {"attacks__symbols": "QWE", "attacks__permutation": False}
    run, own = tmp_path / "run", tmp_path / "own"
    loop_select(demo_inputs, run, **settings)
    statuses = read_table(run, "signals/corrupted")["status"].to_pylist()
    formats = read_table(run, "conversations")["format"].to_pylist()
    choice = {status for status, name in zip(statuses, formats, strict=True) if name == "choice"}
    assert choice == {"ok", "none"}
    candidates_run(demo_inputs, run, **settings)
    candidates_run(demo_inputs, own, **settings)
    assert {*read_table(own, "signals/corrupted")["status"].to_pylist()} == {"ok"}
    assert_same_subgroups(run, own)
    assert_sound(own)


def test_only_candidates_are_computed(finished: Path, drawn: Path) -> None:
    """The corrupted loss of a conversation costs as much as its clean one: that is what drawing saves."""
    rows = single(drawn, "methods/ards/candidates/candidates").to_pylist()
    clusters = {
        entry["row"]: f"{entry['format']}-{entry['cluster']:03d}"
        for entry in read_table(drawn, "methods/ards/clusters").to_pylist()
        if entry["cluster"] is not None
    }
    sizes: dict[str, int] = {}
    for row in corruptible(finished):
        if row in clusters:
            sizes[clusters[row]] = sizes.get(clusters[row], 0) + 1
    found: dict[str, int] = {}
    for entry in rows:
        assert clusters[entry["row"]] == entry["subgroup"]
        found[entry["subgroup"]] = found.get(entry["subgroup"], 0) + 1
    kept = {name: min(CANDIDATES, size) for name, size in sizes.items()}
    assert found == {name: count for name, count in kept.items() if name in found}
    assert len(found) > 8
    computed = read_table(drawn, "signals/corrupted")
    assert computed["row"].to_pylist() == sorted(entry["row"] for entry in rows)
    assert {*computed["status"].to_pylist()} == {"ok"}
    assert computed.num_rows < len(corruptible(finished)) / 2
    # They are the losses that all would have had.
    everything = {row["row"]: row for row in read_table(finished, "signals/corrupted").to_pylist()}
    for row in computed.to_pylist():
        assert row["corruption"] == everything[row["row"]]["corruption"]
        assert abs(row["corrupted_loss"] - everything[row["row"]]["corrupted_loss"]) < 1e-5
    members = {*single(drawn, "methods/ards/subgroups/members")["row"].to_pylist()}
    assert members <= {*computed["row"].to_pylist()}
    assert_sound(drawn)


def test_more_candidates_compute_the_missing_ones(demo_inputs: Any, drawn: Path, tmp_path: Path, calls: Calls) -> None:
    """Raising the sample of a finished run costs the further losses, and ends where a run of its own does."""
    run = shutil.copytree(drawn, tmp_path / "more")
    before = {row["row"]: row for row in read_table(run, "signals/corrupted").to_pylist()}
    files = times(run, "signals/clean", "signals/vectors")
    candidates_run(demo_inputs, run, 8)
    after = {row["row"]: row for row in read_table(run, "signals/corrupted").to_pylist()}
    further = after.keys() - before.keys()
    wanted = {*single(run, "methods/ards/candidates/candidates")["row"].to_pylist()}
    assert after.keys() == before.keys() | wanted
    assert {row: after[row] for row in before} == before
    assert sum(sequences for sequences, _ in calls.look()) == len(further) > 0
    assert times(run, "signals/clean", "signals/vectors") == files
    candidates_run(demo_inputs, tmp_path / "own", 8)
    assert_same_subgroups(run, tmp_path / "own")
    assert_sound(run)
    # And in the end all of them.
    calls.look()
    loop_select(demo_inputs, run)
    assert read_table(run, "signals/corrupted").num_rows == 140
    loop_select(demo_inputs, tmp_path / "all")
    assert_same_subgroups(run, tmp_path / "all")
    assert_sound(run)


def test_a_method_beside_candidates(demo_inputs: Any, drawn: Path, tmp_path: Path, calls: Calls) -> None:
    """A finished run that drew candidates is finished: nothing is asked or written at its next start."""
    run = shutil.copytree(drawn, tmp_path / "again")
    before = times(run)
    assert not candidates_run(demo_inputs, run).worked
    assert times(run) == before
    assert candidates_run(demo_inputs, run, methods="ards,random").worked
    assert calls.look() == []
    assert mixture_bytes(run) == mixture_bytes(drawn)
    assert read_summary(run)["scored"] == 140
