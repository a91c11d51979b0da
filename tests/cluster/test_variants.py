"""Every variant and ablation of the method does what its name says, held against the naive second implementation.

All reuse the signals of one finished run; those that change signals have a small corpus of their own."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pyarrow.parquet as pq
import pytest
from tables import read_signals, read_summary, read_table, times

CLUSTERS = 2
MEMBERS = 3
# What the full method would take of the demo's six formats that can be corrupted.
TOTAL = 6 * CLUSTERS * MEMBERS


def members_of(run: Path) -> list[dict[str, Any]]:
    return pq.read_table(run / "methods/ards/subgroups/members.parquet").to_pylist()


def subgroups_of(run: Path) -> list[dict[str, Any]]:
    return pq.read_table(run / "methods/ards/subgroups/subgroups.parquet").to_pylist()


def recorded_subgroups(run: Path, conversations: naive.Conversations) -> list[naive.Subgroup]:
    """The subgroups with the members that the run says, in its order."""
    place = {int(row): index for index, row in enumerate(conversations.rows)}
    found: dict[str, naive.Subgroup] = {}
    for entry in members_of(run):
        subgroup = found.setdefault(entry["subgroup"], naive.Subgroup(entry["subgroup"], []))
        if entry["version"] == "clean":
            subgroup.members.append(place[entry["row"]])
        else:
            subgroup.corrupted.append(naive.units(np.array([entry["vector"]]))[0])
    return list(found.values())


def assert_follows(run: Path, expected: list[naive.Subgroup], center: bool = False, **score: Any) -> None:
    """The run's losses, weights, scores and mixture are those of the expected subgroups."""
    conversations = naive.read_conversations(run, center)
    weighing = {key: score.pop(key) for key in ("temperature", "perturb") if key in score}
    naive.weigh(conversations, expected, **weighing)
    assert [(subgroup.name, subgroup.members) for subgroup in recorded_subgroups(run, conversations)] == [
        (subgroup.name, subgroup.members) for subgroup in expected
    ]
    table = subgroups_of(run)
    np.testing.assert_allclose([entry["loss"] for entry in table], [item.loss for item in expected], rtol=1e-5)
    np.testing.assert_allclose([entry["weight"] for entry in table], [item.weight for item in expected], rtol=1e-5)
    scores = read_table(run, "methods/ards/ranking")["score"].to_pylist()
    # Single precision, and the distance to the centre taken from a difference.
    tolerance = 1e-4 if center else 1e-5
    np.testing.assert_allclose(scores, naive.scores(conversations, expected, **score), rtol=0, atol=tolerance)
    members = {int(conversations.rows[place]) for subgroup in expected for place in subgroup.members}
    selected = naive.chosen_rows(run, int(0.3 * len(conversations.corpus)), members)
    ranking = read_table(run, "methods/ards/ranking").to_pylist()
    assert {entry["row"] for entry in ranking if entry["selected"]} == selected


@dataclass
class Variant:
    """A finished run whose settings can be changed."""

    run: Path
    job: Callable[..., Any]
    signals: dict[str, int] = field(default_factory=dict)

    def __call__(self, *settings: str) -> Path:
        """Select again with other settings; no signal may be scored for it."""
        outcome = self.job(self.run, settings=settings)
        assert outcome.code == 0, outcome.text
        assert times(self.run, "conversations", "signals") == self.signals
        return self.run


@pytest.fixture
def variant(copied: Path, job: Any) -> Variant:
    return Variant(copied, job, times(copied, "conversations", "signals"))


def worst_case(run: Path) -> list[naive.Subgroup]:
    return naive.worst_case_subgroups(naive.read_conversations(run), MEMBERS)


def test_without_clusters_the_largest_gaps_of_the_corpus(variant: Variant) -> None:
    """An ablation row that takes another number of members measures that number, not the clusters."""
    run = variant("subgroups.cluster=false")
    conversations = naive.read_conversations(run)
    members = naive.largest_gaps(conversations, list(range(len(conversations.rows))), TOTAL)
    assert len(members) == TOTAL
    assert_follows(run, [naive.Subgroup("all", members)])
    (subgroup,) = subgroups_of(run)
    assert (subgroup["format"], subgroup["centroid"], subgroup["weight"]) == (None, None, 1)
    assert subgroup["size"] == len(conversations.rows)
    assert set(read_table(run, "methods/ards/ranking")["group"].to_pylist()) == {"all"}


def test_without_clusters_and_gaps_random_members(variant: Variant) -> None:
    """The weakest ablation row: chance, and losses of clean conversations only."""
    run = variant("subgroups.cluster=false", "subgroups.perturb=false")
    conversations = naive.read_conversations(run)
    (recorded,) = recorded_subgroups(run, conversations)
    assert len(set(recorded.members)) == TOTAL
    assert recorded.members != naive.largest_gaps(conversations, list(range(len(conversations.rows))), TOTAL)
    assert_follows(run, [naive.Subgroup("all", recorded.members)], perturb=False)


def test_with_clusters_and_without_gaps_random_members_of_each(variant: Variant) -> None:
    """Random members from another cluster would make the ablation another experiment."""
    run = variant("subgroups.perturb=false")
    conversations = naive.read_conversations(run)
    recorded = recorded_subgroups(run, conversations)
    clusters = naive.clusters_of(conversations)
    assert [subgroup.name for subgroup in recorded] == list(clusters)
    for subgroup in recorded:
        assert len(set(subgroup.members)) == min(MEMBERS, len(clusters[subgroup.name]))
        assert set(subgroup.members) <= set(clusters[subgroup.name])
    worst = {subgroup.name: set(subgroup.members) for subgroup in worst_case(run)}
    assert any(set(subgroup.members) != worst[subgroup.name] for subgroup in recorded)
    assert_follows(run, recorded, perturb=False)


def test_the_full_method(finished: Path) -> None:
    """What the ablation rows are compared with."""
    assert len(worst_case(finished)) == 6 * CLUSTERS
    assert_follows(finished, worst_case(finished))


def test_members_among_a_sample_of_candidates(variant: Variant) -> None:
    """The reference looks at a sample of each cluster; members from beside the sample would not be its variant."""
    run = variant("subgroups.candidates=4")
    conversations = naive.read_conversations(run)
    recorded = recorded_subgroups(run, conversations)
    clusters = naive.clusters_of(conversations)
    everything = {subgroup.name: subgroup.members for subgroup in worst_case(run)}
    assert len(recorded) == len(everything)
    for subgroup in recorded:
        assert subgroup.members == naive.largest_gaps(conversations, subgroup.members, MEMBERS)
        assert set(subgroup.members) <= set(clusters[subgroup.name])
        if len(clusters[subgroup.name]) <= 4:
            assert subgroup.members == everything[subgroup.name]
    assert any(subgroup.members != everything[subgroup.name] for subgroup in recorded)
    assert_follows(run, recorded)
    assert [
        subgroup.members for subgroup in recorded_subgroups(variant("subgroups.candidates=1000"), conversations)
    ] == [*everything.values()]


def test_members_answered_wrong_under_attack(variant: Variant) -> None:
    """The reference's own criterion for multiple choice; everything else still goes by loss gap."""
    run = variant("subgroups.criterion=answer")
    conversations = naive.read_conversations(run)
    expected = worst_case(run)
    clusters = naive.clusters_of(conversations)
    for subgroup in expected:
        if subgroup.name.startswith("choice"):
            places = clusters[subgroup.name]
            subgroup.members = [place for place in places if not conversations.corrupted_correct[place]][:MEMBERS]
    assert expected != worst_case(run)
    assert_follows(run, expected)


def test_corrupted_versions_join_as_members(variant: Variant) -> None:
    """The reference counts both versions of multiple choice; with a clean vector, a corrupted one counts one twice."""
    run = variant("subgroups.versions=clean+corrupted")
    conversations = naive.read_conversations(run)
    recorded = recorded_subgroups(run, conversations)
    for subgroup in recorded:
        assert len(subgroup.corrupted) == (MEMBERS if subgroup.name.startswith("choice") else 0)
    assert_follows(run, [naive.Subgroup(item.name, item.members, item.corrupted) for item in recorded])
    members = members_of(run)
    clean = {entry["row"]: entry for entry in members if entry["version"] == "clean"}
    for entry in members:
        if entry["version"] == "corrupted":
            same = clean[entry["row"]]
            assert (
                0.1 < naive.units(np.array([same["vector"]]))[0] @ naive.units(np.array([entry["vector"]]))[0] < 0.9999
            )
            assert entry["loss_gap"] == same["loss_gap"]
    assert [entry["members"] for entry in subgroups_of(run)] == [
        len(subgroup.members) + len(subgroup.corrupted) for subgroup in recorded
    ]


def test_centred_vectors(variant: Variant) -> None:
    """Centred clusters with scores that are not would compare one space with another."""
    run = variant("vectors.center=true")
    conversations = naive.read_conversations(run, center=True)
    assert (conversations.clusters == naive.nearest_clusters(conversations, run)).all()
    expected = naive.worst_case_subgroups(conversations, MEMBERS)
    assert_follows(run, expected, center=True)
    for entry, subgroup in zip(subgroups_of(run), expected, strict=True):
        np.testing.assert_allclose(
            entry["mean_member"], conversations.vectors[subgroup.members].mean(axis=0), atol=1e-5
        )


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (("score.aggregate=subgroup-maximum",), {"aggregate": "subgroup-maximum"}),
        (("score.similarity=max",), {"similarity": "max"}),
        (
            ("score.aggregate=subgroup-maximum", "score.similarity=max"),
            {"aggregate": "subgroup-maximum", "similarity": "max"},
        ),
        (("score.temperature=0.1",), {"temperature": 0.1}),
        (("vectors.center=true", "score.similarity=max"), {"center": True, "similarity": "max"}),
    ],
    ids=["subgroup-maximum", "max", "maximum of max", "temperature", "centred max"],
)
def test_other_scores(variant: Variant, settings: tuple[str, ...], options: dict[str, Any]) -> None:
    """Each is a column in somebody's ablation table."""
    run = variant(*settings)
    assert_follows(run, worst_case(run), **options)


def test_members_may_be_candidates(variant: Variant) -> None:
    """Members score highest, so whether they may be chosen changes a small mixture altogether."""
    run = variant("mixture.exclude_members=false")
    selected = naive.chosen_rows(run, 42, set())
    ranking = read_table(run, "methods/ards/ranking").to_pylist()
    assert {entry["row"] for entry in ranking if entry["selected"]} == selected
    assert all(entry["eligible"] for entry in ranking)
    assert selected & {entry["row"] for entry in members_of(run)}


def test_each_format_gets_its_quota(variant: Variant) -> None:
    """The mixture of the corpus's composition is what tells a gain from a shift in composition."""
    run = variant("mixture.quota=format", "mixture.budget=33")
    summary = read_summary(run)
    exact = {name: 33 * count / 140 for name, count in summary["corpus"]["formats"].items()}
    assert sum(summary["mixture"]["formats"].values()) == 33
    for name, share in exact.items():
        assert int(share) <= summary["mixture"]["formats"].get(name, 0) <= int(share) + 1
    conversations = read_table(run, "conversations")["format"].to_pylist()
    ranking = [entry for entry in read_table(run, "methods/ards/ranking").to_pylist() if entry["eligible"]]
    for name in exact:
        of_format = [entry for entry in ranking if conversations[entry["row"]] == name]
        best = sorted(of_format, key=lambda entry: (-entry["score"], entry["row"]))
        count = summary["mixture"]["formats"].get(name, 0)
        assert [entry["selected"] for entry in best] == [True] * count + [False] * (len(best) - count)


def test_a_budget_beyond_the_candidates_takes_them_all_and_says_so(copied: Path, job: Any) -> None:
    """A mixture that is smaller than was asked for must not pass for one of that size."""
    outcome = job(copied, "--budget", "120")
    assert outcome.code == 0, outcome.text
    candidates = 140 - read_summary(copied)["members"]
    assert (
        f"Warning: the budget asks for 120 conversations, and there are only {candidates} candidates." in outcome.text
    )
    assert (
        len(json.loads((copied / "methods/ards/mixture.json").read_text()))
        == candidates
        == read_summary(copied)["selected"]
    )


# Variants that change signals


@pytest.fixture(scope="module")
def small_corpus(demo_inputs: Any, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen conversations of the demo: multiple choice, those of one round first, pictures and plain text."""
    formats = read_table(finished, "conversations")["format"].to_pylist()
    records = json.loads(demo_inputs.corpus.read_text())
    rows: list[int] = []
    for name, count in (("choice", 8), ("image", 5), ("text", 3)):
        rows += sorted(rows_of(formats, name), key=lambda row: len(records[row]["conversations"]))[:count]
    corpus = tmp_path_factory.mktemp("small") / "corpus.json"
    corpus.write_text(json.dumps([records[row] for row in sorted(rows)]))
    return corpus


def rows_of(formats: list[str], name: str) -> list[int]:
    return [row for row, format in enumerate(formats) if format == name]


@pytest.fixture(scope="module")
def signals(small_corpus: Path, job: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """The signals of the small corpus under some settings, by id."""

    def run(*settings: str) -> dict[str, Any]:
        output = tmp_path_factory.mktemp("variant") / "run"
        outcome = job(output, "--corpus", small_corpus, settings=("subgroups.members=2", *settings))
        assert outcome.code == 0, outcome.text
        found = by_id(output)
        shutil.rmtree(output)
        return found

    return run


def by_id(run: Path) -> dict[str, Any]:
    """Signals with their format and number of rounds, by the conversation's id."""
    conversations = read_table(run, "conversations").to_pylist()
    entries = read_signals(run).to_pylist()
    return {
        conversation["id"]: entry
        | {"format": conversation["format"], "rounds": len(json.loads(conversation["record"])["conversations"]) // 2}
        for conversation, entry in zip(conversations, entries, strict=True)
    }


def gap(entry: dict[str, Any]) -> float:
    return abs(entry["clean_loss"] - entry["corrupted_loss"])


def choices(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(identity, entry) for identity, entry in found.items() if entry["format"] == "choice"]


@pytest.fixture(scope="module")
def every_permutation(signals: Any) -> dict[str, Any]:
    return signals("attacks.permutations=all", "proxy.vector=last-token")


def test_the_last_token_alone(every_permutation: dict[str, Any], finished: Path) -> None:
    """The ablation of the vector: half as wide, and the same half."""
    whole = by_id(finished)
    for identity, entry in every_permutation.items():
        assert len(entry["vector"]) == 64
        np.testing.assert_allclose(entry["vector"], whole[identity]["vector"][:64], atol=1e-3)


def test_more_orders_find_larger_gaps(signals: Any, every_permutation: dict[str, Any], finished: Path) -> None:
    """The worst of several orders is the point of trying several; text attacks must not depend on noise either."""
    one = by_id(finished)
    three = signals("attacks.permutations=3", "attacks.noise=false")
    # With several rounds, what is tried is one order for each of them, and not every combination.
    alone = [identity for identity, entry in choices(every_permutation) if entry["rounds"] == 1]
    assert len(alone) > 2
    for fewer in (one, three):
        gains = [gap(every_permutation[identity]) - gap(fewer[identity]) for identity in alone]
        assert min(gains) > -1e-4
        assert max(gains) > 1e-3
    for entry in three.values():
        assert (entry["corrupted_loss"] is None) == (entry["format"] != "choice")
        assert entry["corruption"] == ("symbol+permutation" if entry["format"] == "choice" else None)


def test_symbols_alone_and_permutations_alone(signals: Any, finished: Path) -> None:
    """SA and PA are columns of their own in every table; one under the other's name would be believed."""
    both = by_id(finished)
    permuted = signals("attacks.symbol=false", "attacks.noise_step=10")
    renamed = signals("attacks.permutation=false")
    for identity, entry in choices(both):
        if identity in permuted:
            assert entry["corruption"] == "symbol+permutation"
            assert permuted[identity]["corruption"] == "permutation"
            assert renamed[identity]["corruption"] == "symbol"
            losses = {round(found[identity]["corrupted_loss"], 4) for found in (both, permuted, renamed)}
            assert len(losses) == 3
            assert renamed[identity]["clean_loss"] == pytest.approx(entry["clean_loss"], rel=1e-4)
    noised = [identity for identity, entry in permuted.items() if entry["corruption"] == "noise"]
    assert len(noised) == 5
    for identity in noised:
        assert renamed[identity]["corrupted_loss"] == pytest.approx(both[identity]["corrupted_loss"], rel=1e-4)
    weak, strong = (sum(gap(found[identity]) for identity in noised) for found in (permuted, both))
    assert weak < strong
    assert {entry["corruption"] for entry in both.values() if entry["format"] == "text"} == {None}
