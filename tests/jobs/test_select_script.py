"""The scripts in jobs/ next to a file named like the standard module `select`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JOBS = ROOT / "jobs"
SCRIPTS = sorted(path.name for path in JOBS.glob("*.py"))


def run_python(*arguments: object, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


def guard() -> str:
    """What select.py does before it imports anything of ours."""
    return (JOBS / "select.py").read_text().split("from ards_ray")[0]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_from_the_repository(script: str) -> None:
    """The user would see a traceback from inside Ray or asyncio instead of the options, for any script in jobs/."""
    done = run_python(f"jobs/{script}", "--help")

    assert done.returncode == 0, done.stdout
    assert "usage:" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_from_another_folder(script: str, tmp_path: Path) -> None:
    """The user would have to stand in the repository to start a job."""
    done = run_python(JOBS / script, "--help", folder=tmp_path)

    assert done.returncode == 0, done.stdout
    assert "usage:" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_from_the_jobs_folder(script: str) -> None:
    """The user would stand in jobs/ and find that the scripts run from everywhere but there."""
    done = run_python(script, "--help", folder=JOBS)

    assert done.returncode == 0, done.stdout
    assert "usage:" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_begins_with_the_guard(script: str) -> None:
    """The user would start a new script that works where `select` is built into Python and breaks where it is not."""
    statements = guard().split("import sys", 1)[1]

    assert f"import sys{statements}" in (JOBS / script).read_text()


def copied_jobs(tmp_path: Path, script: str) -> Path:
    copy = shutil.copytree(JOBS, tmp_path / "jobs")
    (copy / "probe.py").write_text(script)
    return copy / "probe.py"


def test_guard_lets_ray_find_the_standard_select(tmp_path: Path) -> None:
    """The user's driver would import jobs/select.py in place of the standard module, and Ray would break."""
    rest = "import select, ray\nprint(sys.path)\nprint('jobs' in getattr(select, '__file__', ''), ray.init)\n"
    done = run_python(copied_jobs(tmp_path, guard() + rest))

    assert done.returncode == 0, done.stdout
    assert f"{tmp_path}/jobs" not in done.stdout
    assert "False <function init" in done.stdout


@pytest.mark.skipif("select" in sys.builtin_module_names, reason="here `select` is built in and cannot be hidden")
def test_without_the_guard_ray_does_not_start(tmp_path: Path) -> None:
    """The guard would be taken for superfluous and removed."""
    done = run_python(copied_jobs(tmp_path, "import ray\nray.init\nprint('started')\n"))

    assert "started" not in done.stdout


def test_guard_lets_workers_find_the_standard_select(tmp_path: Path) -> None:
    """Workers inherit the driver's path: they would break where the driver does not."""
    script = guard() + (
        "import ray\n"
        "def where():\n    import select, sys\n    return getattr(select, '__file__', ''), sys.path\n"
        "if __name__ == '__main__':\n"
        "    ray.init(num_cpus=1, include_dashboard=False)\n"
        "    print('worker:', ray.get(ray.remote(where).remote()))\n"
    )
    done = run_python(copied_jobs(tmp_path, script))

    assert done.returncode == 0, done.stdout
    (answer,) = (line for line in done.stdout.splitlines() if line.startswith("worker:"))
    assert f"{tmp_path}/jobs" not in answer
