"""Full: what every mixture is compared with."""

import json
from pathlib import Path
from typing import Any

import pytest
from loops import mixture_bytes


@pytest.mark.parametrize("budget", [0.1, 0.3, 20])
def test_the_whole_corpus_whatever_the_budget(chosen: Any, corpus: Any, tmp_path: Path, budget: float) -> None:
    """Trained on less than everything, the comparison would flatter every mixture."""
    assert chosen("full", mixture__budget=budget) == list(range(137))
    assert json.loads(mixture_bytes(tmp_path / "run", "full")) == corpus.records
