"""Another corpus against a finished run's subgroups, and a corpus part of which was scored before."""

import json
import shutil
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytest
from PIL import Image
from tables import read_signals, read_summary, read_table, times, vectors_in

# A vector is computed in single precision, whose sums in another order differ by some units in the last place, and
# stored in half precision, where such a difference may round a number to its neighbour: 2^-10 of it, at most.
MIXTURE = "methods/ards/mixture.json"
HALVES = {"rtol": 2**-10, "atol": 1e-5}
SINGLE = 2**-24


def write_corpus(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(records))
    return path


@pytest.fixture(scope="module")
def centred(job: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with centred vectors, whose scores need more than the subgroups."""
    run = tmp_path_factory.mktemp("centred") / "run"
    outcome = job(run, settings=["vectors.center=true", "score.similarity=max"])
    assert outcome.code == 0, outcome.text
    return run


@pytest.mark.parametrize("kind", ["finished", "centred"])
def test_scores_are_those_of_the_run_that_the_subgroups_come_from(
    kind: str, command: Any, demo_inputs: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Corpora that are scored one after the other are compared by these scores."""
    source = request.getfixturevalue(kind)
    records = json.loads(demo_inputs.corpus.read_text())[50:90]
    corpus = write_corpus(tmp_path / "new.json", [{**record, "id": "new"} for record in records])
    outcome = command(
        "--subgroups", source, "--corpus", corpus, "--images", demo_inputs.images, "--output", tmp_path / "run"
    )
    assert outcome.code == 0, outcome.text
    before = {row["row"]: row for row in read_table(source, "methods/ards/ranking").to_pylist()}
    after = read_table(tmp_path / "run", "methods/ards/ranking").to_pylist()
    assert len(after) == 40
    tolerances = score_tolerances(source, tmp_path / "run", centred=kind == "centred")
    for row, tolerance in zip(after, tolerances, strict=True):
        expected = before[row["row"] + 50]
        assert abs(row["score"] - expected["score"]) <= tolerance
        assert row["group"] == expected["group"]
        assert row["eligible"]
    # One clean pass: nothing is corrupted.
    assert {path.name for path in (tmp_path / "run" / "signals").iterdir()} == {"clean", "vectors"}
    mixture = json.loads((tmp_path / "run" / "methods/ards/mixture.json").read_text())
    assert len(mixture) == read_summary(tmp_path / "run")["selected"] == 12
    before_times = times(tmp_path / "run")
    again = command(
        "--subgroups", source, "--corpus", corpus, "--images", demo_inputs.images, "--output", tmp_path / "run"
    )
    assert "Nothing to do" in again.text, again.text
    assert times(tmp_path / "run") == before_times


def score_tolerances(source: Path, run: Path, centred: bool) -> np.ndarray:
    """By how much scores may differ for the vectors' precision, for each conversation of the run: rows 50 to 89.

    A score is a mean of cosines, or of their maxima, with weights whose sum is 1. Each cosine is the product with a
    unit vector, so none changes by more than the length of the difference between the conversation's unit vectors, as
    they are stored in both runs. Computing one in single precision adds at most one rounding for each of the d numbers
    of the vector and a few more; centring divides by the squared distance to the centre, and so do they.
    """
    old, new = (vectors_in(read_table(path, "signals/vectors")["vector"]) for path in (source, run))
    np.testing.assert_allclose(new, old[50:90], **HALVES)
    center = naive.units(old).mean(axis=0) if centred else np.zeros(old.shape[1])
    old, new = (naive.units(vectors) - center for vectors in (old[50:90], new))
    differences = np.linalg.norm(naive.units(new) - naive.units(old), axis=1)
    return differences + 4 * (old.shape[1] + 4) * SINGLE / (old**2).sum(axis=1)


def test_another_proxy_or_other_vectors_are_refused(
    finished: Path, command: Any, demo_inputs: Any, tmp_path: Path
) -> None:
    """Scores by two models would be compared as if they were by one."""
    model = Path(shutil.copytree(demo_inputs.model, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"_note": "trained further"}))
    new = ("--subgroups", finished, "--corpus", demo_inputs.corpus, "--images", demo_inputs.images)
    outcome = command(*new, "--model", model, "--output", tmp_path / "a")
    assert outcome.code == 2
    assert "proxy.model: " in outcome.text
    outcome = command(*new, "--set", "proxy.vector=last-token", "--output", tmp_path / "b")
    assert outcome.code == 2
    assert "proxy.vector: " in outcome.text
    outcome = command("--subgroups", tmp_path / "nowhere", "--corpus", demo_inputs.corpus, "--output", tmp_path / "c")
    assert outcome.code == 2
    assert f"subgroups.run: no run is at {tmp_path}/nowhere" in outcome.text


def test_of_a_corpus_that_grew_only_what_is_new_is_scored(
    job: Any, ray_job: Any, finished: Path, demo_inputs: Any, tmp_path: Path
) -> None:
    """Corpora grow by a tenth each month; scoring them anew each month costs ten times as much."""
    records = json.loads(demo_inputs.corpus.read_text())
    known = records[: len(records) * 10 // 11]
    # Files and ids are others, pictures lie elsewhere: the content is the same.
    images = Path(shutil.copytree(demo_inputs.images, tmp_path / "moved" / "pictures"))
    corpus = write_corpus(tmp_path / "known.json", [{**record, "id": f"other-{record['id']}"} for record in known])
    first = job(tmp_path / "first", "--corpus", corpus, "--images", images)
    assert first.code == 0, first.text
    outcome = ray_job(tmp_path / "grown", "--reuse", tmp_path / "first")
    assert outcome.code == 0, outcome.text
    summary = read_summary(tmp_path / "grown")
    computed = summary["conversations"] - summary["reused"]
    assert computed <= 0.12 * summary["conversations"]
    assert f"the scores of {summary['reused']:,} conversations were taken over" in outcome.text
    found, wanted = read_signals(tmp_path / "grown"), read_signals(finished)
    for name in ("row", "status", "content", "corruption", "target_tokens", "sequence_length", "clean_correct"):
        assert found[name].equals(wanted[name]), name
    for name in ("clean_loss", "corrupted_loss"):
        pairs = zip(found[name].to_pylist(), wanted[name].to_pylist(), strict=True)
        assert all(a == (b if b is None else pytest.approx(b, rel=1e-5)) for a, b in pairs), name
    assert (tmp_path / "grown" / MIXTURE).read_bytes() == (finished / MIXTURE).read_bytes()


def test_a_changed_picture_or_text_is_new(job: Any, finished: Path, demo_inputs: Any, tmp_path: Path) -> None:
    """The score of another picture under the same name would be taken for its own."""
    records = json.loads(demo_inputs.corpus.read_text())
    images = Path(shutil.copytree(demo_inputs.images, tmp_path / "images"))
    name = next(record["image"] for record in records if "image" in record)
    Image.new("RGB", (40, 30), "red").save(images / name)
    touched = {row for row, record in enumerate(records) if record.get("image") == name}
    text = next(row for row, record in enumerate(records) if "image" not in record)
    records[text]["conversations"][1]["value"] += " indeed"
    corpus = write_corpus(tmp_path / "corpus.json", records)
    outcome = job(tmp_path / "run", "--corpus", corpus, "--images", images, "--reuse", finished)
    assert outcome.code == 0, outcome.text
    before = read_table(finished, "signals/clean")["content"].to_pylist()
    after = read_table(tmp_path / "run", "signals/clean")["content"].to_pylist()
    assert {row for row in range(140) if before[row] != after[row]} == touched | {text}
    assert read_summary(tmp_path / "run")["reused"] == 140 - len(touched) - 1


def test_signals_with_other_settings_are_not_taken(job: Any, finished: Path, tmp_path: Path) -> None:
    """Losses under another corruption are other losses, and losses of shortened conversations are none of theirs."""
    outcome = job(tmp_path / "run", "--reuse", finished, settings=["attacks.noise_step=100"])
    assert outcome.code == 0, outcome.text
    assert f"{finished}: clean, vectors are taken over; corrupted are computed." in outcome.text
    before, after = read_signals(finished), read_signals(tmp_path / "run")
    for name in ("clean_loss", "vector", "corruption"):
        assert before[name].equals(after[name]), name
    for name, reason in (("noise", "another strength"), ("symbol+permutation", "the same")):
        pairs = [
            (was["corrupted_loss"], now["corrupted_loss"])
            for was, now in zip(before.to_pylist(), after.to_pylist(), strict=True)
            if was["corruption"] == name
        ]
        changed = sum(was != pytest.approx(now, rel=1e-5) for was, now in pairs)
        assert (changed > len(pairs) / 2) if name == "noise" else not changed, reason
    outcome = job(tmp_path / "other", "--reuse", finished, settings=["limits.positions=100"])
    assert outcome.code == 2
    assert "limits.positions: 100, was 2048" in outcome.text
    assert not (tmp_path / "other" / "signals").exists()
