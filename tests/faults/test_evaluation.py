"""An evaluation on S3 whose driver and replica die: it goes on, and what was answered is not asked again."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.dataset as pads
from drivers import Drivers, Fault
from pyarrow import fs


def test_the_driver_and_a_replica_are_killed(
    drivers: Drivers, answering: Any, s3: str, tmp_path: Path, verify, note
) -> None:
    """A night of answers is paid for once, and a table of half the questions is a wrong one."""
    model = ["--model", answering.model, "--benchmark", f"plain={answering.benchmark}", "--images", answering.images]
    command = ["evaluate", *model, "--limit", 24, "--workers", 1, "--output"]
    quiet = drivers.start(*command, tmp_path / "quiet")
    assert quiet.wait() == 0, quiet.text

    url = f"{s3}/evaluations/one"
    drivers.plan(Fault("answering", "call 2$"), Fault("before the manifest entry", "answers/part-000001", "kill"))
    driver = drivers.start(*command, url)
    assert driver.wait() == -9, driver.text
    assert Path(os.environ["FAULTS_FILE"] + ".0.0").exists(), "the replica was not killed"
    drivers.plan()
    driver = drivers.start(*command, url)
    assert driver.wait() == 0, driver.text
    assert "answers are known" in driver.text
    assert verify(url) == ""

    store, path = fs.FileSystem.from_uri(url)
    run = tmp_path / "run"
    fs.copy_files(path, str(run), source_filesystem=store)
    for name in ("results.json", "answers.parquet"):
        assert (run / name).read_bytes() == (tmp_path / "quiet" / name).read_bytes()
    requests = json.loads((run / "results.json").read_text())["plain"]["requests"]
    assert pads.dataset(sorted((run / "answers").glob("part-*.parquet"))).count_rows() == requests
    note("evaluation: replica killed, driver killed", 2, 0, "the requests in flight")
