"""Starting a run again: what is done stays done, and nothing old is taken for new."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tables import SIGNALS, read_signals, read_summary, read_table, remove_entry, times

from ards_ray.cli import main

SIGNAL_TABLES = ("conversations", "signals")
STAGES = (
    *(f"methods/ards/{name}" for name in ("mixture", "scores", "subgroups", "clusters")),
    "signals/corrupted",
    "signals/clean",
)
MIXTURE = "methods/ards/mixture.json"


def parts_written_since(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Files of tables that are new or were written again; not their entries in the manifest."""
    return {name for name, stamp in after.items() if before.get(name) != stamp and not name.startswith("manifest/")}


def remove(run: Path, path: str, with_entry: bool = True) -> None:
    """Remove a file of the run, and its entry in the manifest."""
    (run / path).unlink()
    if with_entry:
        remove_entry(run, path)


def test_a_finished_run_is_left_alone(copied: Path, job: Any) -> None:
    """Whoever starts a finished run again wants its answer, not a day of computing."""
    before = times(copied)
    outcome = job(copied)
    assert outcome.code == 0, outcome.text
    assert "Nothing to do: this run is finished." in outcome.text
    assert f"Mixture: {copied}/{MIXTURE}" in outcome.text
    assert times(copied) == before


def test_another_budget_redoes_the_mixture_alone(copied: Path, job: Any) -> None:
    """Trying budgets takes seconds, not another pass over the vectors."""
    before = times(copied)
    outcome = job(copied, "--budget", "9")
    assert outcome.code == 0, outcome.text
    written = parts_written_since(before, times(copied))
    own = {f"methods/ards/{name}" for name in ("ranking/part-00000.parquet", "mixture.json", "summary.json")}
    assert written == own | {"run.json"}
    assert len(json.loads((copied / MIXTURE).read_text())) == 9 == read_summary(copied)["selected"]


def test_other_subgroups_keep_every_signal(copied: Path, job: Any) -> None:
    """Scoring is what costs GPUs; another B must not pay it again."""
    before = times(copied)
    outcome = job(copied, settings=["subgroups.members=2"])
    assert outcome.code == 0, outcome.text
    after = times(copied)
    kept = (*SIGNAL_TABLES, "methods/ards/clusters")
    assert {name: after[name] for name in times(copied, *kept)} == {name: before[name] for name in times(copied, *kept)}
    redone = {f"methods/ards/{name}" for name in ("subgroups/members.parquet", "scores/part-00000.parquet")}
    assert redone | {MIXTURE} <= parts_written_since(before, after)
    assert {entry["members"] for entry in read_summary(copied)["subgroups"]} == {2}


def test_going_back_to_earlier_settings_gives_the_earlier_mixture(finished: Path, copied: Path, job: Any) -> None:
    """Tables of two settings in one folder would be a mixture of neither."""
    assert job(copied, settings=["subgroups.per_format=1"]).code == 0
    assert (copied / MIXTURE).read_bytes() != (finished / MIXTURE).read_bytes()
    assert job(copied).code == 0
    assert (copied / MIXTURE).read_bytes() == (finished / MIXTURE).read_bytes()
    assert times(copied).keys() == times(finished).keys()


@pytest.mark.parametrize(
    ("setting", "difference"),
    [
        ("attacks.noise=false", "attacks.noise: false, was true"),
        ("seed=7", "seed: 7, was 42"),
        ("proxy.vector=last-token", 'proxy.vector: "last-token", was "attention"'),
        ("limits.positions=100", "limits.positions: 100, was 2048"),
        ("runtime.shard_size=41", "runtime.shard_size: 41, was 40"),
        ("runtime.batch_positions=4096", "runtime.batch_positions: 4096, was 16384"),
    ],
)
def test_a_change_that_would_throw_signals_away_is_refused(
    copied: Path, job: Any, setting: str, difference: str
) -> None:
    """Days of GPU time are gone by a slip of a setting, or old signals are silently taken for new ones."""
    config = (copied / "config.yaml").read_bytes()
    before = times(copied)
    outcome = job(copied, settings=[setting])
    assert outcome.code == 2, outcome.text
    assert difference in outcome.text
    assert "--fresh" in outcome.text
    assert times(copied) == before
    assert (copied / "config.yaml").read_bytes() == config


def test_another_model_is_refused(copied: Path, job: Any, demo_inputs: Any, tmp_path: Path) -> None:
    """Scores of two models in one table mean nothing, also where the folder's name stayed the same."""
    model = Path(shutil.copytree(demo_inputs.model, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"_note": "trained further"}))
    before = times(copied)
    outcome = job(copied, "--model", model)
    assert outcome.code == 2, outcome.text
    assert "proxy.model: " in outcome.text
    assert times(copied) == before


def test_another_corpus_content_is_refused(copied: Path, job: Any, demo_inputs: Any, tmp_path: Path) -> None:
    """Rows of another corpus would get the scores of this one."""
    records = json.loads(demo_inputs.corpus.read_text())
    records[5]["conversations"][1]["value"] += " indeed"
    (tmp_path / "corpus.json").write_text(json.dumps(records))
    before = times(copied)
    outcome = job(copied, "--corpus", tmp_path / "corpus.json")
    assert outcome.code == 2, outcome.text
    assert "corpus.files: " in outcome.text
    assert times(copied) == before


def test_a_corpus_that_only_moved_is_accepted(copied: Path, job: Any, demo_inputs: Any, tmp_path: Path) -> None:
    """Disks are tidied up; that is no reason to score again."""
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.copy(demo_inputs.corpus, moved / "renamed.json")
    shutil.copytree(demo_inputs.images, moved / "pictures")
    before = times(copied)
    outcome = job(copied, "--corpus", moved / "renamed.json", "--images", moved / "pictures")
    assert outcome.code == 0, outcome.text
    assert times(copied) == before


def test_a_changed_image_is_refused(copied: Path, job: Any, demo_inputs: Any, tmp_path: Path) -> None:
    """The score of a picture that is no longer there would choose one that nobody looked at."""
    images = Path(shutil.copytree(demo_inputs.images, tmp_path / "images"))
    name = next(name for names in read_table(copied, "conversations")["images"].to_pylist() for name in names)
    Image.new("RGB", (30, 30), "red").save(images / name)
    before = times(copied)
    outcome = job(copied, "--images", images)
    assert outcome.code == 2, outcome.text
    assert "image files changed" in outcome.text
    assert times(copied) == before
    # With the conversations lost as well they are looked at as soon as those are there again.
    for file in [*copied.glob("conversations/*"), *copied.glob("manifest/conversations/*")]:
        file.unlink()
    outcome = job(copied, "--images", images)
    assert outcome.code == 2, outcome.text
    assert "image files changed" in outcome.text


def test_fresh_starts_over(copied: Path, job: Any, finished: Path) -> None:
    """Whoever no longer trusts a run wants all of it made again, and what is not the run's left alone."""
    (copied / "notes.txt").write_text("mine")
    before = times(copied)
    outcome = job(copied, "--fresh")
    assert outcome.code == 0, outcome.text
    after = times(copied)
    kept = {name for name, stamp in after.items() if before.get(name) == stamp}
    assert kept <= {"notes.txt", ".lease.json.lock"}
    assert (copied / "notes.txt").read_text() == "mine"
    assert (copied / MIXTURE).read_bytes() == (finished / MIXTURE).read_bytes()


def test_fresh_makes_the_changed_signal_again_and_keeps_the_others(copied: Path, job: Any, finished: Path) -> None:
    """Clean losses and vectors do not depend on the attacks: another attack must not cost their passes again."""
    before = times(copied)
    outcome = job(copied, "--fresh", settings=["attacks.noise=false"])
    assert outcome.code == 0, outcome.text
    assert "made again: corrupted; kept: clean, vectors" in outcome.text
    kept = ("conversations", "signals/clean", "signals/vectors")
    assert times(copied, *kept) == {name: before[name] for name in times(copied, *kept)}
    assert not set(times(copied, "signals/corrupted").items()) & set(before.items())
    old, new = (read_table(run, "signals/corrupted").to_pylist() for run in (finished, copied))
    assert {entry["corruption"] for entry in old} == {"noise", "symbol+permutation", None}
    for was, now in zip(old, new, strict=True):
        if was["corruption"] == "symbol+permutation":
            assert now["corruption"] == was["corruption"]
            # Computed without the clean versions beside them.
            assert now["corrupted_loss"] == pytest.approx(was["corrupted_loss"], rel=1e-5)
        else:
            assert (now["status"], now["corrupted_loss"], now["corruption"]) == ("none", None, None)
    ranking = read_table(copied, "methods/ards/ranking").to_pylist()
    assert sum(entry["selected"] for entry in ranking) == read_summary(copied)["selected"] == 42
    assert {entry["format"] for entry in read_summary(copied)["subgroups"]} == {"choice"}


def test_fresh_keeps_no_signal_of_a_picture_that_changed(
    copied: Path, job: Any, demo_inputs: Any, tmp_path: Path
) -> None:
    """Clean losses of the old picture would stand beside corrupted losses of the new one."""
    images = Path(shutil.copytree(demo_inputs.images, tmp_path / "images"))
    pictures = read_table(copied, "conversations")["images"].to_pylist()
    name = next(name for names in pictures for name in names)
    Image.new("RGB", (30, 30), "red").save(images / name)
    before = read_table(copied, "signals/clean")["content"].to_pylist()
    outcome = job(copied, "--images", images, "--fresh", settings=["attacks.noise=false"])
    assert outcome.code == 0, outcome.text
    after = read_table(copied, "signals/clean")["content"].to_pylist()
    changed = {row for row, (was, now) in enumerate(zip(before, after, strict=True)) if was != now}
    assert changed == {row for row, names in enumerate(pictures) if name in names}


def test_a_method_that_is_added_costs_its_own_arithmetic(copied: Path, job: Any, demo_inputs: Any) -> None:
    """Methods are compared over the same signals; a comparison that scores again for each is not made."""
    before = times(copied)
    outcome = job(copied, "--method", "ards,random")
    assert outcome.code == 0, outcome.text
    written = parts_written_since(before, times(copied))
    own = {f"methods/random/{name}" for name in ("ranking/part-00000.parquet", "mixture.json", "summary.json")}
    assert written == own | {"run.json"}
    corpus = json.loads(demo_inputs.corpus.read_text())
    selected = [entry["row"] for entry in read_table(copied, "methods/random/ranking").to_pylist() if entry["selected"]]
    mixture = json.loads((copied / "methods/random/mixture.json").read_text())
    assert mixture == [corpus[row] for row in selected]
    assert len(mixture) == read_summary(copied, "random")["selected"] == 42
    assert mixture != json.loads((copied / MIXTURE).read_text())
    before = times(copied)
    assert "Nothing to do" in job(copied, "--method", "ards,random").text
    assert "Nothing to do" in job(copied, "--method", "random").text
    assert times(copied) == before


def test_a_method_without_signals_runs_without_a_model(
    command: Any, job: Any, demo_inputs: Any, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random baseline would ask for a checkpoint and a cluster; and what it made must not stand in another's way."""
    inputs = ("--corpus", demo_inputs.corpus, "--images", demo_inputs.images, "--output", tmp_path / "run")
    small = ("--set", "runtime.shard_size=40")
    with monkeypatch.context() as patch:
        # An import of it fails.
        patch.setitem(sys.modules, "ards_ray.cluster.workers", None)
        assert main(["select", *map(str, inputs), *small, "--method", "random"]) == 0
    assert not (tmp_path / "run" / "signals").exists()
    assert read_summary(tmp_path / "run", "random")["selected"] == 42
    outcome = command(*inputs, *small, "--method", "random,ards")
    assert (outcome.code, "proxy.model: not stated" in outcome.text) == (2, True), outcome.text
    before = times(tmp_path / "run", "methods/random")
    outcome = job(tmp_path / "run", "--method", "ards")
    assert outcome.code == 0, outcome.text
    assert times(tmp_path / "run", "methods/random") == before
    assert (tmp_path / "run" / MIXTURE).read_bytes() == (finished / MIXTURE).read_bytes()


def test_a_missing_shard_is_scored_again_and_only_that_one(copied: Path, job: Any, finished: Path) -> None:
    """An interrupted run loses the shards at work, and nothing else."""
    before = times(copied)
    parts = {f"signals/{name}/part-00001.parquet" for name in SIGNALS}
    for part in parts:
        remove(copied, part)
    outcome = job(copied)
    assert outcome.code == 0, outcome.text
    after = times(copied)
    assert parts_written_since(before, after) == parts | {"run.json"}
    assert (copied / MIXTURE).read_bytes() == (finished / MIXTURE).read_bytes()
    assert read_signals(copied).equals(read_signals(finished))


@pytest.mark.parametrize(
    "path",
    ["conversations/part-00001.parquet", *(f"signals/{name}/part-00001.parquet" for name in SIGNALS),
     "methods/ards/scores/part-00000.parquet", "methods/ards/subgroups/subgroups.parquet", MIXTURE],
)  # fmt: skip
@pytest.mark.parametrize("with_entry", [False, True], ids=["file", "file and entry"])
def test_what_is_lost_of_a_finished_run_is_made_again(
    copied: Path, job: Any, finished: Path, path: str, with_entry: bool
) -> None:
    """Whoever lost a disk's last writes would be told "nothing to do", and have no mixture or a wrong one."""
    remove(copied, path, with_entry)
    outcome = job(copied)
    assert outcome.code == 0, outcome.text
    stage = "methods/ards/mixture" if path == MIXTURE else path.rpartition("/")[0]
    assert path in outcome.text or f"files of {stage} are gone" in outcome.text
    assert (copied / MIXTURE).read_bytes() == (finished / MIXTURE).read_bytes()
    for table in ("conversations", *(f"signals/{name}" for name in SIGNALS), "methods/ards/ranking"):
        assert read_table(copied, table).equals(read_table(finished, table)), table
    assert times(copied).keys() == times(finished).keys()


@pytest.mark.parametrize(
    "wrong",
    [("--reuse", "/nowhere"), ("--subgroups", "/nowhere"), ("--reuse", "{run}")],
    ids=["reuse", "subgroups", "self"],
)
def test_fresh_throws_nothing_away_before_all_is_checked(copied: Path, job: Any, wrong: tuple[str, str]) -> None:
    """A slip in another option would cost the signals of a week."""
    before = times(copied)
    outcome = job(copied, "--fresh", wrong[0], wrong[1].format(run=copied))
    assert outcome.code == 2, outcome.text
    assert times(copied) == before


def delete_summary(run: Path) -> None:
    (run / "methods/ards/summary.json").unlink()


def killed_in(*stages: str) -> Callable[[Path], None]:
    """A run that was killed while these stages were at work: they are not complete, and those behind not begun."""

    def kill(run: Path) -> None:
        content = json.loads((run / "run.json").read_text())
        for stage in stages:
            content["stages"][stage]["complete"] = False
        behind = list(content["stages"])[list(content["stages"]).index(stages[-1]) + 1 :]
        for stage in behind:
            del content["stages"][stage]
        (run / "run.json").write_text(json.dumps(content))
        delete_summary(run)

    return kill


@pytest.mark.parametrize(
    "interrupt",
    [delete_summary, *map(killed_in, STAGES)],
    ids=["summary", *STAGES],
)
def test_a_run_that_was_killed_goes_on(
    copied: Path, job: Any, finished: Path, interrupt: Callable[[Path], None]
) -> None:
    """Jobs are killed at any moment; what was written is kept and the mixture comes out the same."""
    interrupt(copied)
    before = times(copied, *SIGNAL_TABLES)
    outcome = job(copied)
    assert outcome.code == 0, outcome.text
    assert times(copied, *SIGNAL_TABLES) == before
    assert (copied / MIXTURE).read_bytes() == (finished / MIXTURE).read_bytes()
    assert all(record["complete"] for record in json.loads((copied / "run.json").read_text())["stages"].values())
    same = ("conversations", "scored", "failed", "members", "selected", "subgroups", "mean_cosine", "mixture")
    assert {key: read_summary(copied)[key] for key in same} == {key: read_summary(finished)[key] for key in same}
