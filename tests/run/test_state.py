"""run.json: which stages are done, with what, so that a rerun redoes no more than it must."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ards_ray.errors import ArdsError, RunChanged
from ards_ray.run.directory import RunDirectory
from ards_ray.run.state import RunState, start_over

INPUTS: dict[str, Any] = {"version": 1, "attacks": {"noise": True}, "seed": 42}
CHANGED: dict[str, Any] = {"version": 1, "attacks": {"noise": False}, "seed": 42}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(str(tmp_path))


def test_a_stage_is_done_when_it_has_finished_with_the_same_inputs(run: RunDirectory) -> None:
    """Half a stage taken for done would be a mixture out of half a corpus."""
    state = RunState(run)
    assert not state.is_done("signals", INPUTS)
    state.start("signals", INPUTS)
    assert not state.is_done("signals", INPUTS)
    assert not RunState(run).is_done("signals", INPUTS)
    state.finish("signals", 1.5)
    assert RunState(run).is_done("signals", INPUTS)
    assert not RunState(run).is_done("signals", CHANGED)
    assert not RunState(run).is_done("clusters", INPUTS)
    state.start("signals", INPUTS)
    assert not RunState(run).is_done("signals", INPUTS)


@pytest.mark.parametrize("interrupted", ["write_bytes", "delete"])
def test_starting_over_can_be_interrupted(run: RunDirectory, monkeypatch: pytest.MonkeyPatch, interrupted: str) -> None:
    """Signals of before whose stage nobody knows any more would pass for those of the changed pictures."""
    state = RunState(run)
    stage = state.start("signals", INPUTS)
    for number in range(3):
        run.write_table(f"methods/ards/scores/part-{number:05d}.parquet", pa.table({"row": [number]}), stage, 0.0)
    state.finish("signals", 1.5)

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, interrupted, interrupt)
        with pytest.raises(KeyboardInterrupt):
            start_over(run)
    assert run.parts("methods/ards/scores") == []
    state = RunState(run)
    assert state.differences("signals", CHANGED)
    assert state.reopen_incomplete() == ["signals"]
    start_over(run)
    assert RunState(run).stages == {}


def test_finishing_can_be_interrupted(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage whose entries are gathered and that is not complete yet is finished by the next start."""
    state = RunState(run)
    stage = state.start("scores", INPUTS)
    for number in range(3):
        run.write_table(f"methods/ards/scores/part-{number:05d}.parquet", pa.table({"row": [number]}), stage, 0.0)

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunState, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            state.finish("scores", 1.5)
    again = RunDirectory(run.url)
    state = RunState(again)
    assert not state.is_done("scores", INPUTS)
    assert again.sweep() == []
    assert [part.fingerprint for part in again.parts("methods/ards/scores")] == [stage] * 3
    assert state.start("scores", INPUTS) == stage
    state.finish("scores", 1.5)
    assert state.stages["scores"].files == 3
    assert RunState(again).reopen_incomplete() == []


def test_differences_to_the_stage_as_it_was_started(run: RunDirectory) -> None:
    """They are what a refused change is explained with, also when the run was killed in the middle."""
    RunState(run).start("signals", INPUTS)
    state = RunState(run)
    assert state.differences("signals", CHANGED) == ["attacks.noise: false, was true"]
    assert state.differences("signals", INPUTS) == []
    assert state.differences("clusters", INPUTS) == []


def test_seconds_add_up_over_interruptions(run: RunDirectory) -> None:
    """The summary's cost of a run that was continued is that of all its starts."""
    state = RunState(run)
    state.start("signals", INPUTS)
    state.finish("signals", 2.0)
    again = RunState(run)
    again.start("signals", INPUTS)
    again.finish("signals", 3.0)
    assert RunState(run).stages["signals"].seconds == 5.0
    again.start("signals", CHANGED)
    again.finish("signals", 1.0)
    assert RunState(run).stages["signals"].seconds == 1.0


def test_fingerprints_tell_inputs_apart(run: RunDirectory) -> None:
    """Parts carry this fingerprint: it is how those of other settings are found."""
    state = RunState(run)
    first = state.start("signals", INPUTS)
    assert state.start("signals", CHANGED) != first
    assert state.start("signals", dict(reversed(INPUTS.items()))) == first


def test_what_made_the_numbers_is_noted(run: RunDirectory) -> None:
    """Without versions nobody can tell why a later run gives other numbers."""
    RunState(run).start("signals", INPUTS)
    content = run.read_json("run.json")
    assert content["stages"]["signals"]["inputs"] == INPUTS
    assert {"ards_ray", "torch", "transformers", "ray"} <= content["versions"].keys()


def test_a_run_of_another_schema_is_refused(run: RunDirectory) -> None:
    """Its tables would be read as something else than they are."""
    run.write_json("run.json", {"schema_version": 99, "stages": {}})
    with pytest.raises(RunChanged, match=r"schema version 99.*--fresh"):
        RunState(run)


def test_damaged_run_file_is_named(run: RunDirectory) -> None:
    """A traceback out of the JSON parser does not say which file to mend."""
    run.write_bytes("run.json", b'{"stages": ')
    with pytest.raises(ArdsError, match=r"run.json: not valid JSON"):
        RunState(run)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], "no object"),
        ({"schema_version": 4}, "'stages' is missing"),
        ({"schema_version": 4, "stages": {"signals": []}}, "stage 'signals': it is no object"),
        ({"schema_version": 4, "stages": {"signals": {"complete": True}}}, "stage 'signals': 'fingerprint' is missing"),
    ],
)
def test_a_run_file_that_lacks_something_is_named(run: RunDirectory, content: Any, problem: str) -> None:
    """It is valid JSON and of no use: a traceback would neither name it nor say that the run need not be lost."""
    run.write_json("run.json", content)
    with pytest.raises(ArdsError, match=rf"run.json: damaged \(.*{problem}.*put a copy of it back.*--fresh"):
        RunState(run)
    assert RunState(run, fresh=True).stages == {}
