"""The example of the Python API runs as it stands."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_example_selects_and_evaluates(tmp_path: Path) -> None:
    """Whoever copies it into a notebook begins with calls that exist; a second call skips what is finished."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples" / "select_and_evaluate.py"), str(tmp_path)]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900) for _ in range(2)
    )
    assert first.returncode == 0, first.stderr
    for method in ("ards", "random"):
        mixture = tmp_path / "selection" / "methods" / method / "mixture.json"
        assert f"{method}: {mixture}\n" in first.stdout
        assert len(json.loads(mixture.read_text())) == 60
    assert "plain: clean " in first.stdout
    assert (second.returncode, second.stdout) == (0, first.stdout), second.stderr
