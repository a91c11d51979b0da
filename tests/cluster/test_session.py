"""The connection to Ray where its token cannot be kept in the home folder."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray_nodes import ROOT


@pytest.fixture
def plan(demo_inputs: Any, tmp_path: Path) -> Any:
    """The command `select --plan` in a process of its own, with some environment variables."""

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        inputs = ["--corpus", demo_inputs.corpus, "--images", demo_inputs.images, "--model", demo_inputs.model]
        return subprocess.run(
            [sys.executable, str(ROOT / "jobs" / "select.py"), *map(str, inputs), "--plan", "--output", str(tmp_path)],
            env=kept | {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"} | variables,
            capture_output=True,
            text=True,
            timeout=1100,
        )

    return run


@pytest.mark.parametrize("kind", ["a file", "a file system without files"])
def test_a_home_that_cannot_be_written(kind: str, plan: Any, tmp_path: Path) -> None:
    """In a container with a read-only home the user would read of a folder `.ray` that is in no page of the product."""
    home = tmp_path / "home" if kind == "a file" else Path("/proc")
    if kind == "a file":
        home.touch()
    done = plan(HOME=str(home))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: Ray cannot write its token file {home}/.ray/auth_token (")
    assert done.stderr.endswith(
        "): set HOME to a folder that can be written, RAY_AUTH_TOKEN_PATH to a file with a token, "
        "or RAY_AUTH_TOKEN to a token\n"
    )
    assert done.stderr.count("\n") == 1


def test_what_the_message_says_helps(plan: Any) -> None:
    """Advice that does not help costs another hour."""
    done = plan(HOME="/proc", RAY_AUTH_TOKEN="0123456789abcdef")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_token_file_that_is_missing(plan: Any, tmp_path: Path) -> None:
    """The sibling: a token that is said to be there, and is not."""
    file = tmp_path / "nowhere"
    done = plan(RAY_AUTH_TOKEN_PATH=str(file))
    assert done.returncode == 2
    assert done.stderr.startswith("error: no connection to Ray: RAY_AUTH_TOKEN_PATH is set but file cannot be opened")
    assert str(file) in done.stderr
    assert done.stderr.count("\n") == 1
