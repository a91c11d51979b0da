"""The working folder of a submitted job, which another node may replace."""

import os
import subprocess
import sys
from pathlib import Path

from ray_nodes import ROOT

REPLACED = """
import os, shutil
folder = os.getcwd()
shutil.rmtree(folder)
os.mkdir(folder)
import ards_ray.cluster
import torch
print(os.getcwd())
"""


def test_process_goes_on_in_the_folder_that_replaced_its_own(tmp_path: Path) -> None:
    """A job would end because a second node unpacked the same package while torch was imported on the first."""
    folder = tmp_path / "package"
    folder.mkdir()
    # As Ray starts its workers.
    done = subprocess.run(
        ["bash", "-c", f'cd "{folder}" && exec "{sys.executable}" -c "$0"', REPLACED],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stdout) == (0, f"{folder}\n"), done.stderr
