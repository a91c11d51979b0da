"""The proxy actor is called by two threads at once: while one shard is computed another is unpacked or written."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ards_ray.cluster.failure import unpacked
from ards_ray.cluster.proxy_actor import ProxyActor
from ards_ray.config import CorpusSettings, ProxySettings, RuntimeSettings, Settings
from ards_ray.models.checkpoint import checkpoint_digest
from ards_ray.models.family import load_inputs
from ards_ray.run.directory import RunDirectory
from ards_ray.signals.prepare import prepare_shard
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.work import SignalWork


def test_overlapping_calls(finished: Path, copied: Path, demo_inputs: Any) -> None:
    """Results of one shard in another's part, or a shard lost because its neighbour failed, would never be found."""
    settings = Settings(
        corpus=CorpusSettings(files=(str(demo_inputs.corpus),), images=str(demo_inputs.images)),
        proxy=ProxySettings(model=str(demo_inputs.model), dtype="float32", device="cpu"),
        runtime=RuntimeSettings(shard_size=40),
    )
    run, before = RunDirectory(str(copied)), RunDirectory(str(finished))
    names = [part.name for part in SIGNALS["clean"].table.parts(run)]
    assert len(names) >= 3
    inputs = load_inputs(Path(demo_inputs.model))
    work = SignalWork(run.url, settings, checkpoint_digest(Path(demo_inputs.model)), dict.fromkeys(SIGNALS, "stamp"))
    wanted = dict.fromkeys(SIGNALS)
    rows = [{**prepare_shard(work, name, wanted, inputs).to_row(), "failure": b""} for name in names]
    for signal in SIGNALS.values():
        signal.table.discard(run)
    actor = ProxyActor(work)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(actor, row) for row in [rows[0], {**rows[1], "conversations": b"torn"}, *rows[1:]]]
        torn = calls.pop(1).result()
        answers = [call.result() for call in calls]
    assert [answer["name"] for answer in answers] == names
    assert not any(answer["failure"] for answer in answers)
    with pytest.raises(ValueError, match="Expected to read"):
        raise unpacked(torn["failure"])
    for signal in SIGNALS.values():
        for name in names:
            assert signal.table.read(run, name).equals(signal.table.read(before, name)), (signal.name, name)
