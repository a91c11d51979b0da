"""Starting a run again: what is done stays done, and nothing old is taken for new."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tables import read_summary, read_table, times

SIGNAL_TABLES = ("conversations", "signals")
STAGES = ("mixture", "scores", "subgroups", "clusters", "signals")


def parts_written_since(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Files of tables that are new or were written again; not their entries in the manifest."""
    return {name for name, stamp in after.items() if before.get(name) != stamp and not name.startswith("manifest/")}


def test_a_finished_run_is_left_alone(copied: Path, job: Any) -> None:
    """Whoever starts a finished run again wants its answer, not a day of computing."""
    before = times(copied)
    outcome = job(copied)
    assert outcome.code == 0, outcome.text
    assert "Nothing to do: this run is finished." in outcome.text
    assert f"Mixture: {copied}/mixture.json" in outcome.text
    assert times(copied) == before


def test_another_budget_redoes_the_mixture_alone(copied: Path, job: Any) -> None:
    """Trying budgets takes seconds, not another pass over the vectors."""
    before = times(copied)
    outcome = job(copied, "--budget", "9")
    assert outcome.code == 0, outcome.text
    written = parts_written_since(before, times(copied))
    assert written == {"information/part-00000.parquet", "mixture.json", "summary.json", "run.json"}
    assert len(json.loads((copied / "mixture.json").read_text())) == 9 == read_summary(copied)["selected"]


def test_other_subgroups_keep_every_signal(copied: Path, job: Any) -> None:
    """Scoring is what costs GPUs; another B must not pay it again."""
    before = times(copied)
    outcome = job(copied, settings=["subgroups.members=2"])
    assert outcome.code == 0, outcome.text
    after = times(copied)
    kept = (*SIGNAL_TABLES, "clusters")
    assert {name: after[name] for name in times(copied, *kept)} == {name: before[name] for name in times(copied, *kept)}
    assert {"subgroups/members.parquet", "scores/part-00000.parquet", "mixture.json"} <= parts_written_since(
        before, after
    )
    assert {entry["members"] for entry in read_summary(copied)["subgroups"]} == {2}


def test_going_back_to_earlier_settings_gives_the_earlier_mixture(finished: Path, copied: Path, job: Any) -> None:
    """Tables of two settings in one folder would be a mixture of neither."""
    assert job(copied, settings=["subgroups.per_format=1"]).code == 0
    assert (copied / "mixture.json").read_bytes() != (finished / "mixture.json").read_bytes()
    assert job(copied).code == 0
    assert (copied / "mixture.json").read_bytes() == (finished / "mixture.json").read_bytes()
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
    for file in [*copied.glob("conversations/*"), *copied.glob("manifest/conversations-*")]:
        file.unlink()
    outcome = job(copied, "--images", images)
    assert outcome.code == 2, outcome.text
    assert "image files changed" in outcome.text


def test_fresh_starts_over(copied: Path, job: Any, finished: Path) -> None:
    """The way out of every refusal must lead somewhere, and must not delete what is not the run's."""
    (copied / "notes.txt").write_text("mine")
    outcome = job(copied, "--fresh", settings=["attacks.noise_step=100"])
    assert outcome.code == 0, outcome.text
    before, after = read_table(finished, "signals"), read_table(copied, "signals")
    assert before["clean_loss"].equals(after["clean_loss"])
    assert not before["corrupted_loss"].equals(after["corrupted_loss"])
    assert (copied / "notes.txt").read_text() == "mine"
    information = read_table(copied, "information").to_pylist()
    assert sum(entry["selected"] for entry in information) == read_summary(copied)["selected"]


def test_a_missing_part_is_scored_again_and_only_that_one(copied: Path, job: Any, finished: Path) -> None:
    """An interrupted run loses the shards at work, and nothing else."""
    before = times(copied)
    (copied / "signals" / "part-00001.parquet").unlink()
    (copied / "manifest" / "signals-part-00001.json").unlink()
    outcome = job(copied)
    assert outcome.code == 0, outcome.text
    after = times(copied)
    assert parts_written_since(before, after) == {"signals/part-00001.parquet", "run.json"}
    assert (copied / "mixture.json").read_bytes() == (finished / "mixture.json").read_bytes()
    assert read_table(copied, "signals").equals(read_table(finished, "signals"))


@pytest.mark.parametrize(
    "path",
    ["conversations/part-00001.parquet", "signals/part-00001.parquet", "scores/part-00000.parquet",
     "subgroups/subgroups.parquet", "mixture.json"],
)  # fmt: skip
@pytest.mark.parametrize("with_entry", [False, True], ids=["file", "file and entry"])
def test_what_is_lost_of_a_finished_run_is_made_again(
    copied: Path, job: Any, finished: Path, path: str, with_entry: bool
) -> None:
    """Whoever lost a disk's last writes would be told "nothing to do", and have no mixture or a wrong one."""
    (copied / path).unlink()
    if with_entry:
        (copied / "manifest" / f"{path.rsplit('.', 1)[0].replace('/', '-')}.json").unlink()
    outcome = job(copied)
    assert outcome.code == 0, outcome.text
    assert path in outcome.text or f"files of {path.split('/')[0].split('.')[0]} are gone" in outcome.text
    assert (copied / "mixture.json").read_bytes() == (finished / "mixture.json").read_bytes()
    for table in ("conversations", "signals", "information"):
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
    (run / "summary.json").unlink()


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
        os.unlink(run / "summary.json")

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
    assert (copied / "mixture.json").read_bytes() == (finished / "mixture.json").read_bytes()
    assert all(record["complete"] for record in json.loads((copied / "run.json").read_text())["stages"].values())
    same = ("conversations", "scored", "failed", "members", "selected", "subgroups", "mean_cosine", "mixture")
    assert {key: read_summary(copied)[key] for key in same} == {key: read_summary(finished)[key] for key in same}
