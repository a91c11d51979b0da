"""The corpus as a table, made again after its driver was killed."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ards_ray.config import CorpusSettings, RuntimeSettings, Settings
from ards_ray.corpus.stage import write_conversations
from ards_ray.run.directory import RunDirectory

HALF = """
import sys
from ards_ray.config import CorpusSettings, RuntimeSettings, Settings
from ards_ray.run.directory import RunDirectory
from ards_ray.corpus.stage import write_conversations

settings = Settings(corpus=CorpusSettings(files=(sys.argv[1],)), runtime=RuntimeSettings(shard_size=40))
for part in write_conversations(RunDirectory(sys.argv[2]), settings, "stage"):
    print(part.path, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_driver_left_in_the_temporary_folder(
    demo_inputs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kill would leave as much as the corpus has, until the disk is full; other runs' is not ours to remove."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    left = {}
    for name in ("run", "other"):
        before = set(temporary.iterdir())
        command = [sys.executable, "-c", HALF, str(demo_inputs.corpus), str(tmp_path / name)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
            assert driver.stdout is not None
            assert driver.stdout.readline() == b"conversations/part-00000.parquet\n"
            driver.kill()
        (left[name],) = set(temporary.iterdir()) - before
        assert any(left[name].iterdir())

    settings = Settings(corpus=CorpusSettings(files=(str(demo_inputs.corpus),)), runtime=RuntimeSettings(shard_size=40))
    parts = list(write_conversations(RunDirectory(str(tmp_path / "run")), settings, "stage"))

    assert sum(part.rows for part in parts) == 140
    assert list(temporary.iterdir()) == [left["other"]]
