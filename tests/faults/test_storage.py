"""Storage that fails: for a moment, for good, when it is full; and S3."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from drivers import Driver, Drivers, Fault, wait_for
from pyarrow import fs


def test_storage_that_fails_every_tenth_call(
    drivers: Drivers, select: Callable[..., Driver], small, tmp_path: Path, assert_same
) -> None:
    """Every network does so now and then: an hour of work would end for a second's trouble."""
    run = tmp_path / "run"
    failed = Path(os.environ["FAULTS_FILE"] + ".failed")
    driver = select(f"flaky://{run}", "--corpus", f"flaky://{small.corpus}", "--images", f"flaky://{small.images}")
    assert driver.wait() == 0, driver.text
    calls = len(failed.read_text())
    assert calls > 20
    assert_same(run, "storage fails every tenth call", calls, "the calls that failed")


def test_a_picture_that_may_not_be_read(
    drivers: Drivers, select: Callable[..., Driver], small, tmp_path: Path, verify
) -> None:
    """One object with other rights would end the job at every start; the wrong rights for all must say so."""
    records = json.loads(small.corpus.read_text())
    record = next(record for record in records if "image" in record)
    images = Path(shutil.copytree(small.images, tmp_path / "images"))
    (images / record["image"]).rename(images / f"{record['image']}.forbidden")
    record["image"] += ".forbidden"
    (tmp_path / "corpus.json").write_text(json.dumps(records))
    run = tmp_path / "run"
    options = (run, "--corpus", tmp_path / "corpus.json", "--images", f"flaky://{images}")
    driver = select(*options, "--set", "limits.failed_fraction=0.01")
    assert driver.wait() == 3, driver.text
    assert "AWS Error ACCESS_DENIED" in driver.text
    driver = select(*options, "--set", "limits.failed_fraction=0.5")
    assert driver.wait() == 0, driver.text
    errors = {line["row"]: line["error"] for line in map(json.loads, (run / "failures.jsonl").read_text().splitlines())}
    assert errors[records.index(record)].startswith("image cannot be read: ")
    assert verify(run) == ""


def test_a_run_on_s3(
    drivers: Drivers, select: Callable[..., Driver], s3: str, undisturbed: Path, tmp_path: Path, verify, assert_same
) -> None:
    """Most runs lie on object stores, which cannot rename and where a lease is a conditional put."""
    url = f"{s3}/runs/one"
    drivers.plan(Fault("before the manifest entry", "^methods/ards/subgroups/"))
    driver = select(url)
    assert driver.wait() == -9, driver.text
    drivers.plan()
    store, path = fs.FileSystem.from_uri(url)

    def lease() -> bytes:
        with store.open_input_file(f"{path}/lease.json") as file:
            return file.read()

    dead = lease()
    driver = select(url)
    # The dead driver's lies there until the new one has taken it.
    wait_for(lambda: lease() != dead, "the lease")
    other = select(url)
    assert other.wait() == 4, other.text
    assert "works on this run" in other.text
    assert driver.wait() == 0, driver.text
    assert verify(url) == ""
    status = drivers.start("status", url)
    assert status.wait() == 0
    assert "No driver is at work." in status.text
    fs.copy_files(path, str(tmp_path / "run"), source_filesystem=store)
    assert_same(tmp_path / "run", "driver killed on S3", 1, "nothing")


def test_a_full_disk(drivers: Drivers, select: Callable[..., Driver], tmp_path: Path, assert_same) -> None:
    """The disk fills up; what is there stays whole, and with more room the job goes on."""
    run = tmp_path / "run"
    # An actor writes the signals, the driver the mixture.
    for path in ("signals/vectors/part-00003", "methods/ards/mixture.json"):
        drivers.plan(Fault("before the temporary file", f"^{path}", "file limit"))
        driver = select(run)
        assert driver.wait() == 1, driver.text
        assert "File too large" in driver.text
        assert not list(run.rglob(f".{Path(path).name}*"))
    drivers.plan()
    driver = select(run)
    assert driver.wait() == 0, driver.text
    assert_same(run, "disk full, for the driver and for an actor", 2, "what did not fit")


def test_folders_that_cannot_be_written(drivers: Drivers, select: Callable[..., Driver], tmp_path: Path) -> None:
    """Said at once and by name, not after the corpus has been read."""
    (tmp_path / "file").write_text("mine")
    for output in ("/proc/ards", tmp_path / "file", tmp_path / "file" / "run"):
        driver = select(output)
        assert driver.wait() == 2, driver.text
        assert str(output) in driver.text
    assert (tmp_path / "file").read_text() == "mine"


def test_parts_that_are_cut_or_gone(
    drivers: Drivers, select: Callable[..., Driver], copied: Path, verify, assert_same
) -> None:
    """A disk that lost its last writes: what is cut is named, and made again by the same command."""
    damaged = (
        "conversations/part-00001.parquet",
        "signals/clean/part-00002.parquet",
        "signals/vectors/part-00003.parquet",
        "methods/ards/scores/part-00000.parquet",
        "methods/ards/subgroups/members.parquet",
    )
    gone = ("signals/corrupted/part-00004.parquet", "methods/ards/mixture.json")
    for path in damaged:
        os.truncate(copied / path, (copied / path).stat().st_size // 2)
    for path in gone:
        (copied / path).unlink()
    found = verify(copied)
    driver = select(copied)
    assert driver.wait() == 0, driver.text
    for path in (*damaged, *gone):
        assert f"{copied}/{path}: " in found
        assert f"{copied}/{path}: " in driver.text
    assert_same(copied, "finished files cut or deleted", len((*damaged, *gone)), "those files and what is made of them")
