"""`--reuse`: of another run is taken over what was made with the same settings, and the rest is computed."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from loops import loop_select, mixture_bytes, selected_rows, single
from rich.console import Console
from tables import read_summary, read_table, vectors_in

from ards_ray.errors import SettingsError
from ards_ray.jobs.verify import verify
from ards_ray.signals import score


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """How many sequences the model was asked for in each shard, and of how many their vector."""
    counted: list[tuple[int, int]] = []
    answer = score.score_sequences

    def counting(model: Any, sequences: Any, pictures: Any, with_vector: Any, *rest: Any) -> Any:
        counted.append((len(sequences), sum(with_vector)))
        return answer(model, sequences, pictures, with_vector, *rest)

    monkeypatch.setattr(score, "score_sequences", counting)
    return counted


@pytest.fixture(scope="module")
def earlier(demo_inputs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without noise."""
    run = tmp_path_factory.mktemp("reuse") / "earlier"
    loop_select(demo_inputs, run, attacks__noise=False)
    return run


def total(asked: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(sequences for sequences, _ in asked), sum(vectors for _, vectors in asked)


def test_everything_is_taken_over_where_nothing_differs(
    demo_inputs: Any, earlier: Path, tmp_path: Path, asked: list[tuple[int, int]]
) -> None:
    """Also where shards are cut otherwise: the same mixture without asking the model."""
    run = tmp_path / "run"
    settings = {"attacks__noise": False, "runtime__reuse": str(earlier), "runtime__shard_size": 16}
    loop_select(demo_inputs, run, **settings)
    assert total(asked) == (0, 0)
    assert mixture_bytes(run) == mixture_bytes(earlier)
    assert read_summary(run)["reused"] == 140
    for signal in ("clean", "vectors", "corrupted"):
        assert read_table(run, f"signals/{signal}").equals(read_table(earlier, f"signals/{signal}"))
    verify(str(run), Console(quiet=True))
    assert not loop_select(demo_inputs, run, **settings).worked


def test_with_other_attacks_clean_losses_and_vectors_are_taken_over(
    demo_inputs: Any, earlier: Path, tmp_path: Path, asked: list[tuple[int, int]]
) -> None:
    """The corrupted losses are compared with the clean ones of the other run, as if they were of this one."""
    own, run = tmp_path / "own", tmp_path / "run"
    loop_select(demo_inputs, own)
    asked.clear()
    loop_select(demo_inputs, run, runtime__reuse=str(earlier))
    losses = read_table(run, "signals/corrupted")
    assert total(asked) == (losses["status"].to_pylist().count("ok"), 0)
    assert {*losses["corruption"].to_pylist()} == {None, "noise", "symbol+permutation"}
    expected = read_table(own, "signals/corrupted")
    assert losses["status"].equals(expected["status"])
    np.testing.assert_allclose(losses["corrupted_loss"].to_numpy(), expected["corrupted_loss"].to_numpy(), atol=1e-5)
    assert read_table(run, "signals/clean").equals(read_table(earlier, "signals/clean"))
    found, known = (vectors_in(read_table(folder, "signals/vectors")["vector"]) for folder in (run, earlier))
    np.testing.assert_array_equal(found, known)
    members = [single(folder, "methods/ards/subgroups/members")["row"] for folder in (run, own)]
    assert members[0].equals(members[1])
    assert mixture_bytes(run) == mixture_bytes(own)
    verify(str(run), Console(quiet=True))


def test_a_larger_corpus_costs_its_own_conversations(
    demo_inputs: Any, make_inputs: Any, earlier: Path, tmp_path: Path, asked: list[tuple[int, int]]
) -> None:
    """Conversations that joined are computed; the others are found by what they say and show, wherever they stand."""
    records = json.loads(demo_inputs.corpus.read_text())
    more = [
        {**record, "id": f"x{n}", "conversations": list(record["conversations"])}
        for n, record in enumerate(records[:9])
    ]
    for record in more:
        record["conversations"][-1] = {"from": "gpt", "value": "Something else."}
    corpus = tmp_path / "corpus.json"
    corpus.write_text(json.dumps([*more, *reversed(records)]))
    inputs = SimpleNamespace(corpus=corpus, images=demo_inputs.images, model=demo_inputs.model)
    run = tmp_path / "run"
    loop_select(inputs, run, attacks__noise=False, runtime__reuse=str(earlier))
    corrupted = read_table(run, "signals/corrupted")["status"].to_pylist()[:9].count("ok")
    assert total(asked) == (9 + corrupted, 9)
    assert read_summary(run)["reused"] == 140
    before = read_table(earlier, "signals/clean")["clean_loss"].to_pylist()
    assert read_table(run, "signals/clean")["clean_loss"].to_pylist()[9:] == before[::-1]
    known = vectors_in(read_table(earlier, "signals/vectors")["vector"])
    np.testing.assert_array_equal(vectors_in(read_table(run, "signals/vectors")["vector"])[9:], known[::-1])
    verify(str(run), Console(quiet=True))


def test_candidates_of_an_earlier_run(
    demo_inputs: Any, earlier: Path, tmp_path: Path, asked: list[tuple[int, int]]
) -> None:
    """A run that draws candidates takes over what the other knows, and a run that wants all takes over the drawn."""
    settings = {"attacks__noise": False, "subgroups__candidates": 4}
    drawn = tmp_path / "drawn"
    loop_select(demo_inputs, drawn, runtime__reuse=str(earlier), **settings)
    assert total(asked) == (0, 0)
    loop_select(demo_inputs, tmp_path / "own", **settings)
    assert selected_rows(drawn, "ards") == selected_rows(tmp_path / "own", "ards")
    verify(str(drawn), Console(quiet=True))
    asked.clear()
    everything = tmp_path / "everything"
    loop_select(demo_inputs, everything, attacks__noise=False, runtime__reuse=str(drawn))
    known = read_table(drawn, "signals/corrupted").num_rows
    there = read_table(earlier, "signals/corrupted")["status"].to_pylist().count("ok")
    assert total(asked) == (there - known, 0)
    assert mixture_bytes(everything) == mixture_bytes(earlier)
    verify(str(everything), Console(quiet=True))


def test_what_cannot_be_taken_over_is_refused(demo_inputs: Any, earlier: Path, tmp_path: Path) -> None:
    """Clean losses of another model or other limits are other numbers."""
    with pytest.raises(SettingsError, match=r"runtime.reuse: .*(?s:.*)limits.positions: 512, was 2048"):
        loop_select(demo_inputs, tmp_path / "run", limits__positions=512, runtime__reuse=str(earlier))
    with pytest.raises(SettingsError, match=rf"runtime.reuse: {tmp_path}/nowhere is no run"):
        loop_select(demo_inputs, tmp_path / "run", runtime__reuse=str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match=r"runtime.reuse: .* is the output itself; name another output"):
        loop_select(demo_inputs, earlier, attacks__noise=False, runtime__reuse=str(earlier))
    assert not (tmp_path / "run" / "conversations").exists()
    # A method without signals has nothing to take over.
    assert loop_select(demo_inputs, tmp_path / "random", "random", runtime__reuse=str(earlier)).worked
