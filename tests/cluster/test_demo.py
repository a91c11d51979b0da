"""The first thing that anyone runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Tables begin with a space.
OURS = re.compile(r"( .*|(conversations|signals|clusters|subgroups|scores|ards|Chosen by ards|Mixture): .*)?")


def run_script(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    script = [sys.executable, str(ROOT / "jobs" / "select.py"), *arguments]
    return subprocess.run(script, cwd=folder, env=environment, capture_output=True, text=True, timeout=1100)


def test_the_demo_needs_nothing(tmp_path: Path) -> None:
    """`python jobs/select.py`, nothing else: whoever's first try fails does not try again."""
    ended = run_script(folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    mixture = tmp_path / "runs" / "demo" / "methods" / "ards" / "mixture.json"
    assert f"Mixture: {mixture}\n" in ended.stdout
    # Nothing of Ray's or another library's, which its reader could do nothing about.
    assert ended.stderr == ""
    assert [line for line in ended.stdout.splitlines() if not OURS.fullmatch(line)] == []
    assert len(json.loads(mixture.read_text())) == 120
    formats = json.loads(mixture.with_name("summary.json").read_text())["mixture"]["formats"]
    assert sorted(formats) == ["box", "caption", "choice", "image", "phrase", "region", "text"]


def test_the_script_explains_itself(tmp_path: Path) -> None:
    """Settings that are not in the help do not exist for whoever needs them."""
    ended = run_script("--help", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for word in (
        "--corpus",
        "--method",
        "--plan",
        "--retry-failed",
        "subgroups.members",
        "attacks.noise_step",
        "built-in demo",
    ):
        assert word in ended.stdout
