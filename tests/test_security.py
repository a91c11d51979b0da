"""Files that come from elsewhere get in nobody: settings, checkpoints, run directories, names in the corpus."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ards_ray.cli import main
from ards_ray.errors import ArdsError
from ards_ray.report.tables import print_failures
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
    from ards_ray.proxy.family import load_inputs, load_model

    load_inputs(model)
    load_model(model, ProxySettings(model=str(model), device="cpu", dtype="float32"))
    assert not mark.exists()


@pytest.mark.parametrize("path", ["../mine.txt", "signals/../../mine.txt", "{tmp}/mine.txt"])
def test_a_run_does_not_delete_outside_itself(tmp_path: Path, path: str) -> None:
    """A run directory from elsewhere would delete files of whoever goes on with it."""
    path = path.format(tmp=tmp_path)
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    run = RunDirectory(str(tmp_path / "run"))
    run.prepare()
    RunState(run).save()
    values = {"path": path, "rows": 1, "bytes": 9, "sha256": "", "fingerprint": "", "seconds": 0.0}
    run.write_json("manifest/signals-part-00000.json", values)
    with pytest.raises(ArdsError, match="not in the run"):
        run.sweep()
    assert mine.read_text() == "mine"


def test_names_of_a_corpus_do_not_steer_the_terminal() -> None:
    """A folder's name could clear the screen, or look like the job's own words."""
    printed = io.StringIO()
    print_failures({"image\x1b[2J [red]gone[/red]\r": 3}, Console(file=printed, width=100))
    text = printed.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    assert "[red]gone[/red]" in text
