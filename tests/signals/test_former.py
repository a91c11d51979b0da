"""Runs of the former layout: their signals can be taken over, so that nothing that was scored is lost."""

import shutil
from pathlib import Path

import pytest

from ards_ray import Settings, select
from ards_ray.config import CorpusSettings, MixtureSettings, ProxySettings, RuntimeSettings, SubgroupSettings
from ards_ray.errors import RunChanged
from ards_ray.signals.loop import loop_workers

# run.json, manifest and signals that version 0.1.0 wrote for the corpus and the checkpoint of the conformance tests.
FORMER = Path(__file__).parents[1] / "cases" / "former-run"


def settings(conformance: Path, output: Path, reuse: Path | None = None) -> Settings:
    return Settings(
        corpus=CorpusSettings(files=(str(conformance / "samples.json"),), images=str(conformance)),
        proxy=ProxySettings(model=str(conformance / "checkpoint"), dtype="float32"),
        subgroups=SubgroupSettings(per_format=2, members=4),
        mixture=MixtureSettings(budget=20),
        runtime=RuntimeSettings(shard_size=16, batch_positions=4096, reuse=None if reuse is None else str(reuse)),
        output=str(output),
    )


def test_its_signals_are_taken_over(conformance: Path, tmp_path: Path) -> None:
    """Scoring a corpus takes hours of a GPU: a new version must not ask for them again."""
    own = select(settings(conformance, tmp_path / "own"), open_workers=loop_workers).methods["ards"]
    taken = select(settings(conformance, tmp_path / "taken", FORMER), open_workers=loop_workers).methods["ards"]
    assert taken.summary["reused"] == taken.summary["conversations"] == 63
    assert Path(taken.url).read_bytes() == Path(own.url).read_bytes()


def test_it_is_refused_as_an_output(conformance: Path, tmp_path: Path) -> None:
    """Its tables are others: going on with it would mix two layouts."""
    output = shutil.copytree(FORMER, tmp_path / "run")
    with pytest.raises(RunChanged, match=r"schema version 3, .*--reuse"):
        select(settings(conformance, output), open_workers=loop_workers)
