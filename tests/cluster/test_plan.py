"""`--plan`: what a selection would cost, before it costs it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tables import read_table


def test_a_plan_names_its_numbers_and_writes_nothing(ray_job: Any, demo_inputs: Any, tmp_path: Path) -> None:
    """One looks at the plan before one rents machines: a missing image folder shows itself here or after hours."""
    images = Path(shutil.copytree(demo_inputs.images, tmp_path / "images"))
    names = {record["image"] for record in json.loads(demo_inputs.corpus.read_text()) if "image" in record}
    for name in sorted(names)[:3]:
        (images / name).unlink()
    outcome = ray_job(tmp_path / "run", "--plan", "--images", images, "--budget", "0.25")
    assert outcome.code == 0, outcome.text
    for line in (
        "choice 35",
        "text 17",
        "symbol+permutation 35",
        "Shards: about 4",
        "are missing",
        "Proxy actors: 1 of 1 CPU each, float32 on cpu",
        f"in {tmp_path}/run",
        "To be chosen: 35 of 140 conversations",
    ):
        assert line in outcome.text, line
    assert "Images: 0 of" not in outcome.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


def test_a_plan_says_what_a_sample_of_candidates_saves(ray_job: Any, job: Any, finished: Path, tmp_path: Path) -> None:
    """Corrupted losses cost half of the GPUs: whoever rents fewer of them by the plan must not run out of time."""
    settings = ("subgroups.candidates=4",)
    planned = ray_job(tmp_path / "run", "--plan", settings=settings)
    assert planned.code == 0, planned.text
    found = re.search(r"subgroups.candidates saves the corrupted losses of (\d+) conversations or more", planned.text)
    assert found, planned.text
    outcome = job(tmp_path / "run", settings=settings)
    assert outcome.code == 0, outcome.text
    whole, drawn = (
        read_table(run, "signals/corrupted")["status"].to_pylist().count("ok") for run in (finished, tmp_path / "run")
    )
    assert 0 < int(found[1]) <= whole - drawn


def test_a_plan_of_methods_without_signals_asks_for_no_model(
    command: Any, demo_inputs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan of a baseline would ask for a checkpoint and a cluster that the baseline does not need."""
    monkeypatch.setattr("ards_ray.cluster.session.ray_session", None)
    inputs = ("--corpus", demo_inputs.corpus, "--images", demo_inputs.images, "--output", tmp_path / "run")
    outcome = command(*inputs, "--method", "random,full", "--plan")
    assert outcome.code == 0, outcome.text
    assert "Method random: no signals, so that no model is asked" in outcome.text
    assert "Proxy actors" not in outcome.text
    assert not (tmp_path / "run").exists()


def test_a_plan_of_a_wrong_corpus_is_refused(job: Any, tmp_path: Path) -> None:
    """The plan is the rehearsal: what would be refused later is refused here."""
    (tmp_path / "corpus.json").write_text('[{"id": "1", "conversations": [')
    outcome = job(tmp_path / "run", "--plan", "--corpus", tmp_path / "corpus.json")
    assert outcome.code == 2
    assert f"{tmp_path}/corpus.json: cut off after 0 conversations" in outcome.text
    assert not (tmp_path / "run").exists()
