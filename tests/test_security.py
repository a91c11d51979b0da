"""Files that come from elsewhere get in nobody: settings, checkpoints, run directories, names in the corpus."""

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ards_ray.cli import main, print_error
from ards_ray.console import print_failures
from ards_ray.errors import ArdsError, SettingsError
from ards_ray.run.directory import RunDirectory
from ards_ray.run.state import RunState


def test_settings_do_not_run_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shared YAML file would be a program."""
    mark = tmp_path / "mark"
    config = tmp_path / "config.yaml"
    config.write_text(f'seed: !!python/object/apply:os.system ["touch {mark}"]\n')
    assert main(["select", "--config", str(config), "--print-config"]) == 2
    assert str(config) in capsys.readouterr().err
    assert not mark.exists()


def test_a_checkpoint_brings_no_code(demo_inputs: Any, tmp_path: Path) -> None:
    """Whoever tries a model from the hub would run its author's program."""
    mark = tmp_path / "mark"
    model = Path(shutil.copytree(demo_inputs.model, tmp_path / "model"))
    (model / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Evil: pass\n")
    for name in ("config.json", "tokenizer_config.json"):
        content = json.loads((model / name).read_text())
        kinds = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoModelForImageTextToText")
        content["auto_map"] = {kind: "evil.Evil" for kind in kinds}
        (model / name).write_text(json.dumps(content))
    from ards_ray.config import ProxySettings
    from ards_ray.models.family import load_inputs, load_model

    load_inputs(model)
    load_model(model, ProxySettings(model=str(model), device="cpu", dtype="float32"))
    assert not mark.exists()


@pytest.mark.parametrize("gathered", [False, True], ids=["of its own", "gathered"])
@pytest.mark.parametrize(
    "path",
    [
        "{tmp}/mine.txt",
        "../mine.txt",
        "methods/../../mine.txt",
        "methods/ards//part-00000.parquet",
        "./failures.jsonl",
        "mixture.json",
        "methods/ards/scores/deeper/part-00000.parquet",
        "notes/mine.parquet",
        "signals/clean/mine.txt",
        "signals/clean/Mine.parquet",
        "conversations/mine.parquet",
        "conversations/part-9999999999.parquet",
        "mine.txt",
        "run.json",
    ],
)
def test_a_run_does_not_delete_outside_itself(tmp_path: Path, path: str, gathered: bool) -> None:
    """A run directory from elsewhere would delete files of whoever goes on with it, or read them for its own."""
    path = path.format(tmp=tmp_path)
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    run = RunDirectory(str(tmp_path / "run"))
    run.prepare()
    RunState(run).save()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    values = {"path": path, "rows": 1, "bytes": 9, "sha256": "", "fingerprint": "", "seconds": 0.0, "finished": 0.0}
    content = {**values, "details": {"formats": {}}, "vectors": []}
    entry = Path("manifest", path.replace("..", "up").lstrip("/"))
    entry = entry.with_name("parts.json") if gathered else entry.with_suffix(".json")
    run.write_json(str(entry), [content] if gathered else content)
    with pytest.raises(ArdsError, match=rf"{re.escape(str(entry))}: .*names {re.escape(path)}, which is no"):
        run.sweep()
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("folder", ["manifest", "signals", "signals/clean", "methods", "methods/ards"])
def test_a_run_does_not_lead_out_of_itself(tmp_path: Path, demo_inputs: Any, folder: str, capsys: Any) -> None:
    """What lies where a link leads would be taken for what a killed writer left, and deleted."""
    mine = tmp_path / "mine" / "thesis.parquet"
    mine.parent.mkdir()
    mine.write_text("mine")
    output = tmp_path / "run"
    run = RunDirectory(str(output))
    run.prepare()
    RunState(run).save()
    (output / folder).parent.mkdir(exist_ok=True)
    (output / folder).symlink_to(mine.parent)
    inputs = {"--corpus": demo_inputs.corpus, "--images": demo_inputs.images, "--model": demo_inputs.model}
    options = [str(part) for pair in inputs.items() for part in pair]
    for more in ((), ("--fresh",)):
        assert main(["select", *options, "--output", str(output), *more]) == 2
        assert f"{output}/{folder}: a symbolic link; put the folder itself there" in capsys.readouterr().err
    with pytest.raises(SettingsError, match=f"{folder}: a symbolic link"):
        run.sweep()
    assert mine.read_text() == "mine"


def test_the_output_may_be_reached_by_a_link(tmp_path: Path) -> None:
    """Whoever keeps runs on another disk reaches them by a link; a whole run of theirs would be refused."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    run = RunDirectory(str(tmp_path / "run"))
    run.prepare()
    RunState(run).save()
    assert run.sweep() == []
    assert (tmp_path / "disk" / "run.json").exists()


def test_names_of_a_corpus_do_not_steer_the_terminal() -> None:
    """A folder's name could clear the screen, or look like the job's own words."""
    printed = io.StringIO()
    print_failures({"image\x1b[2J [red]gone[/red]\r": 3}, Console(file=printed, width=100))
    text = printed.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    assert "[red]gone[/red]" in text


@pytest.mark.parametrize("command", ["verify", "status"])
def test_errors_do_not_steer_the_terminal(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A run from elsewhere could clear the screen of whoever looks at it, or write what is not so."""
    run = RunDirectory(str(tmp_path))
    run.write_json("run.json", {"schema_version": "\u001b[2J\u009b31m\rSound", "stages": {}})
    assert main([command, run.url]) == 2
    text = capsys.readouterr().err
    assert text.startswith(f"error: {run.url}: made with schema version ")
    assert text.endswith("start over with --fresh\n")
    assert not {"\x1b", "\x9b", "\r"} & set(text)


def test_errors_keep_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """What changed in a run is told in several lines; as one nobody could read it."""
    print_error(SettingsError("a run:\n  seed: 1, was 2\n  \x1b[31mred"))
    assert capsys.readouterr().err == "error: a run:\n  seed: 1, was 2\n  \N{REPLACEMENT CHARACTER}[31mred\n"
