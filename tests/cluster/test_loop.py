"""A plain loop and a cluster select the same mixture."""

from pathlib import Path
from typing import Any

import pytest
from loops import loop_select, mixture_bytes
from tables import read_summary


@pytest.mark.parametrize("candidates", ["all", 6])
def test_a_loop_selects_the_mixture_of_the_cluster(
    demo_inputs: Any, select: Any, tmp_path: Path, candidates: Any
) -> None:
    """In a notebook one would try out another mixture than the cluster makes."""
    settings = {
        "subgroups.versions": "clean+corrupted",
        "subgroups.candidates": candidates,
        "vectors.center": True,
    }
    loop_select(demo_inputs, tmp_path / "loop", **settings)
    given = [part for key, value in settings.items() for part in ("--set", f"{key}={str(value).lower()}")]
    assert select(tmp_path / "ray", *given) == 0
    assert mixture_bytes(tmp_path / "loop") == mixture_bytes(tmp_path / "ray")
    assert read_summary(tmp_path / "loop")["subgroups"] == read_summary(tmp_path / "ray")["subgroups"]
