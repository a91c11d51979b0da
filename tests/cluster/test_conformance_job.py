"""The whole job against the reference implementation, and against a naive second implementation of the method."""

import json
from pathlib import Path

import naive
import numpy as np
import pyarrow.parquet as pq
import pytest
from tables import read_signals, read_summary, read_table, vectors_in

MEMBERS = 4
CLUSTERS = 2
BUDGET = 20


@pytest.fixture(scope="module")
def run(ray_command, conformance: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A selection on the reference's 63 conversations with its checkpoint."""
    output = tmp_path_factory.mktemp("conformance") / "run"
    settings = (
        "proxy.dtype=float32",
        f"subgroups.per_format={CLUSTERS}",
        f"subgroups.members={MEMBERS}",
        "runtime.shard_size=16",
        "runtime.workers=1",
        "runtime.batch_positions=4096",
    )
    outcome = ray_command(
        *("--output", output, "--corpus", conformance / "samples.json", "--images", conformance),
        *("--model", conformance / "checkpoint", "--budget", BUDGET),
        *(part for setting in settings for part in ("--set", setting)),
    )
    assert outcome.code == 0, outcome.text
    return output


@pytest.fixture(scope="module")
def conversations(run: Path) -> naive.Conversations:
    return naive.read_conversations(run)


@pytest.fixture(scope="module")
def subgroups(conversations: naive.Conversations) -> list[naive.Subgroup]:
    found = naive.worst_case_subgroups(conversations, MEMBERS)
    naive.weigh(conversations, found)
    return found


def test_signals_are_those_of_the_reference(run: Path, conformance: Path) -> None:
    """Losses and vectors decide everything that follows: off by a token, and another mixture is chosen unnoticed."""
    reference = json.loads((conformance / "reference.json").read_text())
    signals = read_signals(run)
    assert signals["status"].to_pylist() == ["ok"] * len(reference) == ["ok"] * 63
    ids = read_table(run, "conversations")["id"].to_pylist()
    assert ids == [entry["id"] for entry in reference]
    for column in ("sequence_length", "target_tokens"):
        assert signals[column].to_pylist() == [entry[column] for entry in reference]
    losses = [entry["loss"] for entry in reference]
    np.testing.assert_allclose(signals["clean_loss"].to_pylist(), losses, rtol=1e-5)
    np.testing.assert_allclose(vectors_in(signals["vector"]), np.load(conformance / "vectors.npy"), atol=1e-3)


def test_clusters_are_the_nearest_of_their_format(run: Path, conversations: naive.Conversations) -> None:
    """A conversation in the wrong cluster makes a subgroup that is no subgroup of anything."""
    centroids = pq.read_table(run / "methods/ards/clusters/centroids.parquet").to_pylist()
    counts = {name: [entry["format"] for entry in centroids].count(name) for name in naive.FORMATS}
    expected = naive.expected_clusters(conversations, CLUSTERS)
    assert {name: count for name, count in counts.items() if count} == expected
    assert "text" not in expected
    assert (conversations.clusters == naive.nearest_clusters(conversations, run)).all()
    for entry in centroids:
        of_cluster = (conversations.formats == entry["format"]) & (conversations.clusters == entry["cluster"])
        mean = naive.units(conversations.vectors[of_cluster].mean(axis=0, keepdims=True))[0]
        np.testing.assert_allclose(entry["centroid"], mean, atol=1e-5)


def test_members_have_the_largest_loss_gaps(
    run: Path, conversations: naive.Conversations, subgroups: list[naive.Subgroup]
) -> None:
    """The worst case is the method: members that are not the worst make ARDS an expensive random choice."""
    members = pq.read_table(run / "methods/ards/subgroups/members.parquet").to_pylist()
    signals = {entry["row"]: entry for entry in read_signals(run).to_pylist()}
    expected = [
        (subgroup.name, rank, conversations.rows[place])
        for subgroup in subgroups
        for rank, place in enumerate(subgroup.members)
    ]
    assert len(subgroups) > 5
    assert [(entry["subgroup"], entry["rank"], entry["row"]) for entry in members] == expected
    for entry in members:
        signal = signals[entry["row"]]
        assert entry["version"] == "clean"
        assert entry["vector"] == signal["vector"]
        assert entry["clean_loss"] == signal["clean_loss"]
        assert entry["corrupted_loss"] == signal["corrupted_loss"]
        assert entry["loss_gap"] == pytest.approx(abs(signal["clean_loss"] - signal["corrupted_loss"]), abs=1e-6)


def test_subgroups_have_their_losses_and_weights(
    run: Path, conversations: naive.Conversations, subgroups: list[naive.Subgroup]
) -> None:
    """Weights say how much each subgroup counts; a wrong one bends the mixture towards the wrong weakness."""
    table = pq.read_table(run / "methods/ards/subgroups/subgroups.parquet").to_pylist()
    sizes = naive.clusters_of(conversations)
    centroids = pq.read_table(run / "methods/ards/clusters/centroids.parquet").to_pylist()
    by_name = {f"{entry['format']}-{entry['cluster']:03d}": entry["centroid"] for entry in centroids}
    assert [entry["subgroup"] for entry in table] == [subgroup.name for subgroup in subgroups]
    for entry, subgroup in zip(table, subgroups, strict=True):
        assert entry["format"] == subgroup.name.split("-")[0]
        assert entry["size"] == len(sizes[subgroup.name])
        assert entry["members"] == len(subgroup.members)
        assert entry["loss"] == pytest.approx(subgroup.loss, rel=1e-5)
        assert entry["weight"] == pytest.approx(subgroup.weight, rel=1e-5)
        assert entry["centroid"] == by_name[subgroup.name]
        mean = conversations.vectors[subgroup.members].mean(axis=0)
        np.testing.assert_allclose(entry["mean_member"], mean, atol=1e-5)


def test_scores_are_the_double_sum_over_all_members(
    run: Path, conversations: naive.Conversations, subgroups: list[naive.Subgroup]
) -> None:
    """The job takes one dot product for each conversation; it must be the formula of the paper all the same."""
    ranking = read_table(run, "methods/ards/ranking")
    assert ranking["row"].to_pylist() == conversations.rows.tolist()
    expected = naive.scores(conversations, subgroups)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(ranking["score"].to_pylist(), expected, rtol=0, atol=1e-5)
    names = {subgroup.name for subgroup in subgroups}
    for entry, name, cluster in zip(ranking.to_pylist(), conversations.formats, conversations.clusters, strict=True):
        own = f"{name}-{cluster:03d}"
        assert entry["group"] == (own if own in names else None)


def test_the_mixture_is_the_top_of_the_budget_without_members(
    run: Path, conformance: Path, conversations: naive.Conversations, subgroups: list[naive.Subgroup]
) -> None:
    """What comes out is what one trains on."""
    members = {int(conversations.rows[place]) for subgroup in subgroups for place in subgroup.members}
    expected = naive.chosen_rows(run, BUDGET, members)
    ranking = read_table(run, "methods/ards/ranking").to_pylist()
    assert {entry["row"] for entry in ranking if not entry["eligible"]} == members
    assert {entry["row"] for entry in ranking if entry["selected"]} == expected
    assert len(expected) == BUDGET == read_summary(run)["selected"]
    corpus = json.loads((conformance / "samples.json").read_text())
    mixture = json.loads((run / "methods/ards/mixture.json").read_text())
    assert mixture == [corpus[row] for row in sorted(expected)]
