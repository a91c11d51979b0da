"""The command line: every setting reaches the job as it was given, or is refused with its name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ards_ray.cli import main

TABLE = """
corpus.files corpus.images corpus.links proxy.model proxy.adapter proxy.dtype proxy.device proxy.vector
attacks.symbol attacks.permutation attacks.noise attacks.symbols attacks.permutations attacks.noise_step
subgroups.cluster subgroups.perturb subgroups.per_format subgroups.members subgroups.candidates subgroups.criterion
subgroups.versions subgroups.run vectors.center score.aggregate score.similarity score.temperature
mixture.budget mixture.exclude_members mixture.quota limits.failed_fraction limits.positions limits.pixels
runtime.workers runtime.threads runtime.shard_size runtime.batch_positions runtime.reuse output seed
"""
KEYS = frozenset(TABLE.split())


@pytest.fixture
def settings(capsys: pytest.CaptureFixture[str]) -> Any:
    """The settings that some arguments give, by `--print-config`."""

    def parse(*arguments: str) -> dict[str, Any]:
        assert main(["select", "--print-config", *arguments]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        content: dict[str, Any] = yaml.safe_load(printed.out)
        return content

    return parse


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Any:
    """The message with which some arguments are refused."""

    def parse(*arguments: str) -> str:
        assert main(["select", "--print-config", *arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("error: ")
        return printed.err

    return parse


def values(content: dict[str, Any]) -> dict[str, Any]:
    """Nested settings by their keys."""
    flat = {}
    for name, value in content.items():
        flat |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def test_every_setting_is_printed(settings: Any) -> None:
    """What is not in the printed settings cannot be kept for another run."""
    assert set(values(settings())) == KEYS


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """A setting that help does not name does not exist for its user."""
    with pytest.raises(SystemExit) as end:
        main(["select", "--help"])
    assert end.value.code == 0
    words = capsys.readouterr().out.split()
    assert set(words) >= KEYS
    for option in ("--corpus", "--images", "--model", "--budget", "--config", "--set", "--fresh", "--retry-failed"):
        assert option in words


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("subgroups.members=20", "subgroups.members", 20),
        ("subgroups.candidates=all", "subgroups.candidates", "all"),
        ("subgroups.candidates=20", "subgroups.candidates", 20),
        ("subgroups.cluster=false", "subgroups.cluster", False),
        ("subgroups.versions=clean+corrupted", "subgroups.versions", "clean+corrupted"),
        ("attacks.permutations=all", "attacks.permutations", "all"),
        ("attacks.permutations=7", "attacks.permutations", 7),
        ("attacks.symbols=12345", "attacks.symbols", "12345"),
        ("score.temperature=2", "score.temperature", 2.0),
        ("proxy.vector=last-token", "proxy.vector", "last-token"),
        ("proxy.adapter=a=b", "proxy.adapter", "a=b"),
        ("proxy.model=123", "proxy.model", "123"),
        ("corpus.files=[a b.json,c.json]", "corpus.files", ["a b.json", "c.json"]),
        ("runtime.workers=auto", "runtime.workers", "auto"),
        ("runtime.workers=3", "runtime.workers", 3),
        ("seed=7", "seed", 7),
    ],
)
def test_any_setting_can_be_set(settings: Any, assignment: str, key: str, value: Any) -> None:
    """And no other changes along with it."""
    changed = values(settings("--set", assignment))
    assert changed[key] == value
    assert type(changed[key]) is type(value)
    assert {name for name, before in values(settings()).items() if changed[name] != before} <= {key}


def test_shorthands(settings: Any) -> None:
    """What everybody gives has options of its own; files keep their order, over repeated options too."""
    arguments = ["--corpus", "a", "b", "--corpus", "c", "--images", "d", "--model", "e/f", "--output", "s3://g"]
    content = values(settings(*arguments, "--budget", "5"))
    assert content["corpus.files"] == ["a", "b", "c"]
    assert (content["corpus.images"], content["proxy.model"]) == ("d", "e/f")
    assert (content["output"], content["mixture.budget"]) == ("s3://g", 5)


@pytest.mark.parametrize("name", ["a b.json", "it's.json", 'quo"te.json', "[x].json", "é.json", "null", "1", "a,b"])
def test_odd_names(settings: Any, name: str) -> None:
    """Names of files are not YAML."""
    content = values(settings("--corpus", name, "--images", f"dir/{name}"))
    assert content["corpus.files"] == [name]
    assert content["corpus.images"] == f"dir/{name}"


@pytest.mark.parametrize(("given", "value"), [("0.3", 0.3), ("1", 1), ("5", 5), ("0.999", 0.999)])
def test_budgets(settings: Any, given: str, value: float) -> None:
    """Below 1 a fraction, from 1 a count."""
    budget = settings("--budget", given)["mixture"]["budget"]
    assert budget == value
    assert type(budget) is type(value)


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "1e400", "nan", "many", "true", ""])
def test_budgets_that_will_not_do(refused: Any, given: str) -> None:
    """One and a half conversations are a slip for 0.15, and would be found after the scoring."""
    assert "mixture.budget" in refused(f"--budget={given}")


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("subgroups.members=many", "subgroups.members"),
        ("subgroups.members=1.5", "subgroups.members"),
        ("subgroups.members=true", "subgroups.members"),
        ("attacks.noise=perhaps", "attacks.noise"),
        ("attacks.noise=1", "attacks.noise"),
        ("attacks.permutations=some", "attacks.permutations"),
        ("proxy.dtype=int8", "proxy.dtype"),
        ("score.aggregate=sum", "score.aggregate"),
        ("score.temperature=warm", "score.temperature"),
        ("corpus.files=a.json", "corpus.files"),
        ("seed=x", "seed"),
        ("seed=99999999999", "seed"),
        ("subgroups.nothing=3", "subgroups.nothing"),
        ("nothing=3", "nothing"),
        ("subgroups.memb=3", "subgroups.memb"),
        ("subgroups=3", "subgroups"),
        ("seed", "seed"),
        ("=3", "=3"),
    ],
)
def test_wrong_assignments_are_refused_by_name(refused: Any, assignment: str, named: str) -> None:
    """A misspelled key that is passed over is a run with other settings than its user believes."""
    assert named in refused("--set", assignment)


def test_settings_in_a_file(settings: Any, tmp_path: Path) -> None:
    """The command line overrides the file, and the file the defaults."""
    file = tmp_path / "settings.yaml"
    file.write_text("subgroups:\n  members: 20\n  per_format: 4\ncorpus:\n  files: [a, b]\nmixture: {budget: 7}\n")
    content = values(settings("--config", str(file), "--set", "subgroups.members=30", "--budget", "0.5"))
    assert (content["subgroups.members"], content["subgroups.per_format"]) == (30, 4)
    assert (content["corpus.files"], content["mixture.budget"]) == (["a", "b"], 0.5)
    assert content["subgroups.criterion"] == "loss"
    before = values(settings("--set", "subgroups.members=30", "--config", str(file)))
    assert before["subgroups.members"] == 30
    assert values(settings("--config", str(file), "--corpus", "c"))["corpus.files"] == ["c"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"subgroups:\n  members: many\n", "subgroups.members"),
        (b"subgroups:\n  member: 3\n", "member"),
        (b"nothing: 3\n", "nothing"),
        (b"subgroups: [1\n", "config"),
        (b"[1, 2]\n", "config"),
        (b"\xff\xfe\x00", "config"),
        (b"mixture:\n  budget: .inf\n", "mixture.budget"),
        (b"mixture:\n  budget: .nan\n", "mixture.budget"),
    ],
)
def test_wrong_files_are_refused(refused: Any, tmp_path: Path, content: bytes, named: str) -> None:
    """The same for settings in a file."""
    file = tmp_path / "settings.yaml"
    file.write_bytes(content)
    assert named in refused("--config", str(file))


def test_printed_settings_are_settings(settings: Any, tmp_path: Path) -> None:
    """A run is repeated from its printed settings."""
    arguments = ["--corpus", "a", "b c", "--budget", "5", "--set", "attacks.permutations=all", "--set", "seed=7"]
    printed = settings(*arguments, "--set", "attacks.symbols=123", "--model", "1")
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(printed))
    assert settings("--config", str(file)) == printed


def test_the_preset(settings: Any, refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One name for the published setting; a file of that name in the way wins, since it is what the user wrote."""
    content = values(settings("--config", "llava-665k"))
    assert content["corpus.files"] == ["llava_v1_5_mix665k.json"]
    assert (content["proxy.model"], content["mixture.budget"]) == ("llava-hf/llava-1.5-7b-hf", 0.3)
    overridden = values(settings("--config", "llava-665k", "--corpus", "mine.json", "--budget", "0.1"))
    assert (overridden["corpus.files"], overridden["mixture.budget"]) == (["mine.json"], 0.1)
    message = refused("--config", "llava-1m")
    assert "llava-1m" in message
    assert "presets: llava-665k" in message
    assert "no such file" in refused("--config", str(tmp_path / "missing.yaml"))
    assert "no such file" in refused("--config", "../presets/llava-665k")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llava-665k").write_text("seed: 3\n")
    assert settings("--config", "llava-665k")["seed"] == 3


@pytest.mark.parametrize("arguments", [[], ["choose"], ["select", "--nothing"], ["select", "extra"]])
def test_usage(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """A script around the command sees a slip by the exit code, its author by the message."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "usage: ards-ray" in printed.err


def test_wrong_inputs_of_the_conversion(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The other command ends in the same way."""
    assert main(["convert-checkpoint", str(tmp_path / "missing"), str(tmp_path / "target")]) == 2
    # Libraries may have said something before.
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    assert str(tmp_path / "missing") in message
    assert not (tmp_path / "target").exists()
