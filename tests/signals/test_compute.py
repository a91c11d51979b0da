"""Signals are computed in the company in which they were: what is lost, interrupted or added, by a plain loop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tables import read_table, times

from ards_ray import Settings
from ards_ray.config import AttackSettings, CorpusSettings, ProxySettings, RuntimeSettings, SubgroupSettings
from ards_ray.jobs.select import select
from ards_ray.signals.loop import Loop, loop_workers

SIGNALS = ("clean", "corrupted", "vectors")
SHARD = "part-00002"


@pytest.fixture(scope="module")
def settings(make_inputs: Callable[[int], Any]) -> Settings:
    inputs = make_inputs(48)
    return Settings(
        corpus=CorpusSettings(files=(str(inputs.corpus),), images=str(inputs.images)),
        proxy=ProxySettings(model=str(inputs.model)),
        subgroups=SubgroupSettings(per_format=1, members=3),
        runtime=RuntimeSettings(shard_size=8),
    )


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Callable[..., None]:
    """Selects into one run, with other settings where some are given."""

    def run(fresh: bool = False, workers: Any = loop_workers, **sections: Any) -> None:
        select(replace(settings, output=str(tmp_path / "run"), **sections), fresh=fresh, open_workers=workers)

    return run


def rewritten(run: Path, again: Callable[[], None]) -> dict[str, set[str]]:
    """Which signals of which shards a start writes."""
    before = times(run, "signals")
    again()
    found: dict[str, set[str]] = {}
    for name, stamp in times(run, "signals").items():
        if before.get(name) != stamp:
            found.setdefault(Path(name).stem, set()).add(Path(name).parent.name)
    return found


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_lost_part_is_computed_with_those_that_it_was_computed_with(
    start: Callable[..., None], tmp_path: Path, signal: str
) -> None:
    """In another company its last bits are others, and so may the mixture be."""
    run = tmp_path / "run"
    start()
    mixture = (run / "methods/ards/mixture.json").read_bytes()
    (run / "signals" / signal / f"{SHARD}.parquet").unlink()
    assert rewritten(run, start) == {SHARD: set(SIGNALS)}
    assert (run / "methods/ards/mixture.json").read_bytes() == mixture


def test_a_signal_that_was_added_is_computed_alone(start: Callable[..., None], tmp_path: Path) -> None:
    """It would cost what is there once more; and lost later, it must come back as it was."""
    run = tmp_path / "run"
    start(subgroups=SubgroupSettings(per_format=1, members=3, candidates=4))
    assert len(read_table(run, "signals/corrupted")) < len(read_table(run, "signals/clean"))
    assert {signal for found in rewritten(run, start).values() for signal in found} == {"corrupted"}
    (run / "signals/corrupted" / f"{SHARD}.parquet").unlink()
    assert rewritten(run, start) == {SHARD: {"corrupted"}}
    (run / "signals/vectors" / f"{SHARD}.parquet").unlink()
    assert rewritten(run, start) == {SHARD: {"clean", "vectors"}}


def test_other_attacks_and_back_cost_corrupted_losses_alone(start: Callable[..., None], tmp_path: Path) -> None:
    """Half of the GPU time of a run is in its clean losses and vectors."""
    run = tmp_path / "run"
    start()
    for attacks in (AttackSettings(noise=False), AttackSettings()):
        found = rewritten(run, lambda attacks=attacks: start(fresh=True, attacks=attacks))
        assert len(found) > 2
        assert {signal for signals in found.values() for signal in signals} == {"corrupted"}


class Interrupted(Exception):
    pass


@contextmanager
def interrupted(proxy: ProxySettings, say: Any) -> Iterator[Any]:
    """Workers that end after two shards, the second of which has its first signal alone."""

    class Ending(Loop):
        def score(self, work: Any, shards: Any, total: int) -> Iterator[Any]:
            first, second, *_ = shards.items()
            yield from super().score(work, dict([first]), total)
            yield from super().score(work, dict([second]), total)
            for signal in ("vectors", "corrupted"):
                for path in (f"signals/{signal}/{second[0]}.parquet", f"manifest/signals/{signal}/{second[0]}.json"):
                    Path(work.output, path).unlink()
            raise Interrupted

    yield Ending(proxy)


def test_a_shard_with_some_of_its_signals_is_computed_as_a_whole(start: Callable[..., None], tmp_path: Path) -> None:
    """Killed between two parts of a shard, a run must end with the bits of any other."""
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(workers=interrupted)
    found = rewritten(run, start)
    assert "part-00000" not in found
    assert found["part-00001"] == set(SIGNALS)
