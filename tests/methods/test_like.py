"""Like: the control that has the composition of another mixture, and nothing else of it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from loops import loop_select, selected_rows

from ards_ray.errors import SettingsError


def kinds(corpus: Any, rows: list[int]) -> Counter[tuple[str, str]]:
    """Conversations by format and source folder."""
    return Counter((corpus.formats[row], corpus.sources[row]) for row in rows)


def like(corpus: Any, output: Path, reference: Any, methods: str = "like", **settings: Any) -> list[int]:
    """Rows of the mixture of `like`."""
    loop_select(corpus, output, methods, like__run=str(reference), **settings)
    return selected_rows(output, "like")


@pytest.fixture(scope="module")
def other(corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two mixtures that are made of other things than the corpus."""
    run = tmp_path_factory.mktemp("like") / "other"
    loop_select(corpus, run, "choice-first,balanced", proxy__model=None, mixture__budget=0.2)
    return run


@pytest.mark.parametrize("method", ["choice-first", "balanced"])
def test_counts_are_those_of_the_other_mixture(corpus: Any, other: Path, tmp_path: Path, method: str) -> None:
    """One more of a kind, and a difference between the two says nothing of how conversations were chosen."""
    reference = selected_rows(other, method)
    rows = like(corpus, tmp_path / "run", other / method, proxy__model=None)
    assert kinds(corpus, rows) == kinds(corpus, reference)
    assert len(rows) == 27
    assert rows != reference
    # The folder itself can be named as well.
    assert like(corpus, tmp_path / "again", f"{other}/methods/{method}/", proxy__model=None) == rows


def test_the_seed_decides_within_kinds(corpus: Any, other: Path, tmp_path: Path) -> None:
    """The spread over seeds is what the claim is measured against."""
    first, again, drawn = (
        like(corpus, tmp_path / f"run-{n}", other / "choice-first", seed=seed) for n, seed in enumerate((42, 42, 43))
    )
    assert first == again != drawn
    assert kinds(corpus, first) == kinds(corpus, drawn)


def test_like_ards_in_one_command(corpus: Any, tmp_path: Path) -> None:
    """`--method ards,like --like OUT/ards`: the mixture and its control from one run."""
    run = tmp_path / "run"
    rows = like(corpus, run, run / "ards", "ards,like")
    reference = selected_rows(run, "ards")
    assert kinds(corpus, rows) == kinds(corpus, reference)
    assert len(rows) == len(reference) == 41
    assert rows != reference
    mixture = json.loads((run / "methods" / "like" / "mixture.json").read_text())
    assert mixture == [corpus.records[row] for row in rows]
    # Another mixture of the other method has another control.
    settings = {"subgroups__members": 2, "mixture__budget": 0.1}
    rows = like(corpus, run, run / "ards", "ards,like", **settings)
    assert kinds(corpus, rows) == kinds(corpus, selected_rows(run, "ards"))
    assert len(rows) == 13


def test_a_mixture_that_is_not_there_is_refused(corpus: Any, other: Path, tmp_path: Path) -> None:
    """A typing mistake in a path must not cost the hours that the other methods take, nor give another control."""
    output = tmp_path / "run"
    refused = [
        (None, r"like.run: not stated; give --like RUN/METHOD"),
        (tmp_path / "nowhere" / "ards", rf"like.run: {tmp_path}/nowhere is no run; name a mixture as RUN/METHOD"),
        (
            other / "ards",
            rf"like.run: {other} has no finished mixture of a method 'ards'; it has balanced, choice-first",
        ),
        (other, rf"like.run: {other.parent} is no run"),
        (output / "ards", rf"like.run: {output} is no run; name a mixture as RUN/METHOD"),
    ]
    for reference, said in refused:
        settings = {} if reference is None else {"like__run": str(reference)}
        with pytest.raises(SettingsError, match=said):
            loop_select(corpus, output, "random,like", **settings)
        assert not (output / "conversations").exists()


def test_it_follows_the_method_that_it_copies(corpus: Any, tmp_path: Path) -> None:
    """Named first, it would copy what an earlier command left, or nothing."""
    output = tmp_path / "run"
    order = r"like.run: random must be named before like: --method random,like"
    with pytest.raises(SettingsError, match=order):
        like(corpus, output, output / "random", "like,random")
    rows = like(corpus, output, output / "random", "random,like")
    assert kinds(corpus, rows) == kinds(corpus, selected_rows(output, "random"))
    with pytest.raises(SettingsError, match=order):
        like(corpus, output, output / "random", "like,random", mixture__budget=0.1)
    with pytest.raises(SettingsError, match=r"like.run: names its own mixture; name that of another method"):
        like(corpus, output, output / "like", "like")
    assert selected_rows(output, "like") == rows


def test_a_corpus_with_too_few_of_a_kind_is_refused(corpus: Any, other: Path, tmp_path: Path) -> None:
    """Filled with another kind it would be no control, and a smaller one would not be comparable."""
    small = tmp_path / "small.json"
    left = [n for n, name in enumerate(corpus.formats) if name != "choice"][:50]
    small.write_text(json.dumps([corpus.records[row] for row in left]))
    given = type("Inputs", (), {"corpus": small, "images": corpus.images, "model": corpus.model})
    with pytest.raises(SettingsError, match=r"like.run: .*/choice-first has \d+ conversations of choice in \S+"):
        like(given, tmp_path / "run", other / "choice-first", "ards,like")
    assert not (tmp_path / "run" / "signals").exists()
