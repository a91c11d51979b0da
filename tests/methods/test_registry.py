"""The methods that there are, and settings that name them."""

from pathlib import Path
from typing import Any

import pytest
from loops import loop_select, mixture_bytes, selected_rows
from tables import times

from ards_ray.errors import SettingsError
from ards_ray.methods.registry import METHODS

LIST = "ards, balanced, choice-first, full, like, random, stratified"


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ("rnadom", f"methods: no method 'rnadom'; there are {LIST}"),
        ("random,ARDS", f"methods: no method 'ARDS'; there are {LIST}"),
        ("random,full,random", "methods: random stands there twice"),
    ],
)
def test_a_wrong_method_is_refused_before_any_work(corpus: Any, tmp_path: Path, methods: str, said: str) -> None:
    """A corpus is scored for hours before the mixtures are chosen."""
    with pytest.raises(SettingsError) as error:
        loop_select(corpus, tmp_path / "run", methods)
    assert str(error.value) == said
    assert not (tmp_path / "run").exists()
    assert error.value.exit_code == 2


def test_a_method_that_needs_none_asks_for_no_model(corpus: Any, tmp_path: Path) -> None:
    """A baseline is drawn on a laptop that has neither a checkpoint nor a GPU."""
    done = loop_select(corpus, tmp_path / "run", "random,full", proxy__model=None)
    assert list(done.methods) == ["random", "full"]
    assert not (tmp_path / "run" / "signals").exists()
    with pytest.raises(SettingsError, match=r"proxy.model: not stated; give --model"):
        loop_select(corpus, tmp_path / "run", "random,ards", proxy__model=None)


def test_a_method_that_joins_leaves_the_others_alone(corpus: Any, tmp_path: Path) -> None:
    """A mixture that is being trained on must not be written again."""
    run = tmp_path / "run"
    assert loop_select(corpus, run, "random").worked
    before = times(run, "methods/random", "conversations")
    content = mixture_bytes(run, "random")
    done = loop_select(corpus, run, "random,stratified")
    assert done.worked
    assert times(run, "methods/random", "conversations") == before
    assert not loop_select(corpus, run, "stratified").worked
    assert not loop_select(corpus, run, "random").worked
    assert mixture_bytes(run, "random") == content


def test_methods_draw_independently(corpus: Any, tmp_path: Path) -> None:
    """Baselines that share their draw would err together, and their spread would look too small."""
    loop_select(corpus, tmp_path / "run", "random,stratified,balanced")
    drawn = [{*selected_rows(tmp_path / "run", name)} for name in ("random", "stratified", "balanced")]
    assert all(len(one & other) < 30 for one in drawn for other in drawn if one is not other)


def test_every_method_has_its_own_name(tmp_path: Path) -> None:
    """Its name is a folder of the run and a section of the settings."""
    assert ", ".join(sorted(METHODS)) == LIST
    assert all(name == method.name for name, method in METHODS.items())
