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
runtime.workers runtime.threads runtime.shard_size runtime.batch_positions runtime.reuse
balanced.by like.run stratified.by output methods seed
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
    options = ("--corpus", "--images", "--model", "--budget", "--method", "--like", "--config", "--set", "--fresh")
    for option in (*options, "--retry-failed"):
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
        ("methods=[random,ards]", "methods", ["random", "ards"]),
        ("balanced.by=source", "balanced.by", "source"),
        ("like.run=a/ards", "like.run", "a/ards"),
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
    assert content["methods"] == ["ards"]
    content = values(settings("--method", "random,like", "--like", "runs/a/ards"))
    assert (content["methods"], content["like.run"]) == (["random", "like"], "runs/a/ards")


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


A_BUDGET = "a fraction between 0 and 1 or a whole number of conversations from 1"
A_SUBGROUP = "a section with cluster, perturb, per_format, members, candidates, criterion, versions, run"
OF_METHODS = "balanced, like, stratified"
SHARED = "corpus, proxy, attacks, subgroups, vectors, score, mixture, limits, runtime"
SECTIONS = f"the sections are {SHARED}, {OF_METHODS}, and there are"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("0", f"must be {A_BUDGET}, got 0"),
        ("-1", f"must be {A_BUDGET}, got -1"),
        ("1.5", f"must be {A_BUDGET}, got 1.5"),
        ("1e400", f"must be {A_BUDGET}, got inf"),
        ("nan", f"must be a number, {A_BUDGET}, got nan"),
        ("many", f"must be a number, {A_BUDGET}, got many"),
        ("true", f"must be a number, {A_BUDGET}, got true"),
        ("", f'must be a number, {A_BUDGET}, got ""'),
    ],
)
def test_wrong_budgets_are_refused(refused: Any, given: str, message: str) -> None:
    """One and a half conversations are a slip for 0.15, and would be found after the scoring."""
    assert refused(f"--budget={given}") == f"error: --budget: mixture.budget: {message}\n"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        # The key.
        ("subgroup.members=3", "no such setting; the nearest is subgroups.members: a whole number, 1 or more"),
        ("subgroups.memb=3", "no such setting; the nearest is subgroups.members: a whole number, 1 or more"),
        ("members=3", "no such setting; the nearest is subgroups.members: a whole number, 1 or more"),
        ("subgroups.members.x=3", "no such setting; the nearest is subgroups.members: a whole number, 1 or more"),
        ("proxy.budget=3", f"no such setting; the nearest is mixture.budget: a number, {A_BUDGET}"),
        ("score.aggregation=max", "no such setting; the nearest is score.aggregate: weighted-sum or subgroup-maximum"),
        ("SEED=3", "no such setting; the nearest is seed: a whole number, 0 to 2147483647"),
        ("vector={center: true}", "no such setting; the nearest is vectors: a section with center"),
        ("subgroups={member: 3}", "no such setting; the nearest is subgroups.members: a whole number, 1 or more"),
        ("config=x", f"no such setting; {SECTIONS} output, methods and seed"),
        ("help=x", f"no such setting; {SECTIONS} output, methods and seed"),
        # A choice.
        ("proxy.dtype=int8", "must be auto, float32, bfloat16 or float16, got int8"),
        ("proxy.dtype=[float32]", "must be auto, float32, bfloat16 or float16, got [float32]"),
        ("score.aggregate=sum", "must be weighted-sum or subgroup-maximum, got sum"),
        ("subgroups.versions=1", "must be clean or clean+corrupted, got 1"),
        ("attacks.permutations=some", "must be a whole number, 1 or more, or all, got some"),
        ("runtime.workers=AUTO", "must be a whole number, 1 or more, or auto, got AUTO"),
        # A type.
        ("subgroups.members=many", "must be a whole number, 1 or more, got many"),
        ("subgroups.members=1.5", "must be a whole number, 1 or more, got 1.5"),
        ("subgroups.members=1e2", "must be a whole number, 1 or more, got 1e2"),
        ("subgroups.members=true", "must be a whole number, 1 or more, got true"),
        ("subgroups.members=null", "must be a whole number, 1 or more, got null"),
        ("subgroups.members=[3]", "must be a whole number, 1 or more, got [3]"),
        ("subgroups.members=", 'must be a whole number, 1 or more, got ""'),
        ("attacks.noise=perhaps", "must be true or false, got perhaps"),
        ("attacks.noise=1", "must be true or false, got 1"),
        ("attacks.symbols=null", "must be text, two or more different symbols, got null"),
        ("score.temperature=warm", "must be a number, more than 0, got warm"),
        ("score.temperature=true", "must be a number, more than 0, got true"),
        ("corpus.files=a.json", "must be a list of texts, got a.json"),
        ("corpus.files=[a.json, 2]", "must be a list of texts, got [a.json, 2]"),
        ("corpus.files={a: b}", "must be a list of texts, got {a: b}"),
        ("subgroups=3", f"must be {A_SUBGROUP}, got 3"),
        ("subgroups=null", f"must be {A_SUBGROUP}, got null"),
        # The bounds.
        ("subgroups.members=0", "must be 1 or more, got 0"),
        ("attacks.noise_step=1000", "must be 0 to 999, got 1000"),
        ("seed=99999999999", "must be 0 to 2147483647, got 99999999999"),
        ("attacks.symbols=QQ", "must be two or more different symbols, got QQ"),
        ("attacks.symbols=11", "must be two or more different symbols, got 11"),
        # What YAML reads as another number than was written: octal, base 60.
        ("seed=010", "must be a whole number, 0 to 2147483647, got 010"),
        ("subgroups.members=1:30", "must be a whole number, 1 or more, got 1:30"),
        ("score.temperature=1:30.5", "must be a number, more than 0, got 1:30.5"),
        ("attacks.noise=!!bool maybe", "must be true or false, got !!bool maybe"),
    ],
)
def test_wrong_assignments_are_refused(refused: Any, assignment: str, message: str) -> None:
    """A misspelled key that is passed over is a run with other settings than its user believes."""
    key = {"subgroups={member: 3}": "subgroups.member"}.get(assignment, assignment.partition("=")[0])
    assert refused("--set", assignment) == f"error: --set {key}: {message}\n"


@pytest.mark.parametrize("assignment", ["seed", "=3", ""])
def test_what_is_no_assignment_is_refused(refused: Any, assignment: str) -> None:
    """The user sees the form, not a key that is the whole text."""
    assert refused("--set", assignment) == f"error: --set {assignment}: write it as section.key=value\n"


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
    ("content", "message"),
    [
        (b"nothing: 3\n", f": nothing: no such setting; {SECTIONS} output, methods and seed"),
        (b"subgroup:\n  members: 3\n", f": subgroup: no such setting; the nearest is subgroups: {A_SUBGROUP}"),
        (
            b"subgroups:\n  member: 3\n",
            ": subgroups.member: no such setting; the nearest is subgroups.members: a whole number, 1 or more",
        ),
        (b"1: 3\n", f": 1: no such setting; {SECTIONS} output, methods and seed"),
        (b"subgroups: 3\n", f": subgroups: must be {A_SUBGROUP}, got 3"),
        (b"subgroups: [members]\n", f': subgroups: must be {A_SUBGROUP}, got ["members"]'),
        (b"subgroups:\n", f": subgroups: must be {A_SUBGROUP}, got null"),
        (b"subgroups:\n  members: many\n", ": subgroups.members: must be a whole number, 1 or more, got many"),
        (b"subgroups:\n  members: [3]\n", ": subgroups.members: must be a whole number, 1 or more, got [3]"),
        (b"subgroups:\n  members:\n", ": subgroups.members: must be a whole number, 1 or more, got null"),
        (b"subgroups: {members: 3.0}\n", ": subgroups.members: must be a whole number, 1 or more, got 3.0"),
        (b"subgroups: {members: yes}\n", ": subgroups.members: must be a whole number, 1 or more, got true"),
        (b"subgroups: {cluster: 1}\n", ": subgroups.cluster: must be true or false, got 1"),
        (b"subgroups: {members: 0}\n", ": subgroups.members: must be 1 or more, got 0"),
        (
            b"attacks: {symbols: 123}\n",
            ": attacks.symbols: must be text, two or more different symbols, got 123; write it in quotes",
        ),
        (b"corpus: {files: a.json}\n", ": corpus.files: must be a list of texts, got a.json"),
        (b"proxy: {device: gpu}\n", ": proxy.device: must be auto, cpu or cuda, got gpu"),
        (b"mixture:\n  budget: .inf\n", f": mixture.budget: must be {A_BUDGET}, got inf"),
        (b"mixture:\n  budget: .nan\n", f": mixture.budget: must be {A_BUDGET}, got nan"),
        (b"seed: 1\noutput: x\nseed: 1\n", ", line 3: seed stands there twice; delete one"),
        (b"limits:\n  pixels: 5\n  pixels: 6\n", ", line 3: pixels stands there twice; delete one"),
        (b"limits.pixels: 5\nlimits: {pixels: 6}\n", ": limits.pixels: stands there twice; delete one"),
        (b"subgroups: [1\n", ", line 2: not valid YAML"),
        (b"seed: 1\n---\nseed: 2\n", ", line 2: not valid YAML"),
        (b"seed: !!bool maybe\n", ": not valid YAML"),
        (b"seed: " + b"9" * 5000, ": not valid YAML"),
        (b"seed: !!python/object/apply:os.getcwd []\n", ", line 1: not valid YAML"),
        (b"[" * 5000, ": not valid YAML"),
        (b"[1, 2]\n", ": must hold settings, as in `subgroups: {members: 20}`, got [1, 2]"),
        (b"seed\n", ": must hold settings, as in `subgroups: {members: 20}`, got seed"),
        (b"", ": must hold settings, as in `subgroups: {members: 20}`, got nothing"),
        (b"# seed: 3\n", ": must hold settings, as in `subgroups: {members: 20}`, got nothing"),
    ],
)
def test_wrong_files_are_refused(refused: Any, tmp_path: Path, content: bytes, message: str) -> None:
    """The same for settings in a file, and each of them is stated once."""
    file = tmp_path / "settings.yaml"
    file.write_bytes(content)
    assert refused("--config", str(file)) == f"error: --config {file}{message}\n"


def test_a_file_that_is_no_text_is_refused(refused: Any, tmp_path: Path) -> None:
    """A checkpoint or a picture in its place is a slip of the command line."""
    file = tmp_path / "settings.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    assert refused("--config", str(file)).startswith(f"error: --config {file}: not a text file in UTF-8 (")


@pytest.mark.parametrize(
    ("content", "key", "value"),
    [
        ("score: {temperature: 1e-3}", "score.temperature", 0.001),
        ("score: {temperature: 2}", "score.temperature", 2.0),
        ("score: {temperature: +.5}", "score.temperature", 0.5),
        ("limits: {pixels: 1_000}", "limits.pixels", 1000),
        ("output: 12:30", "output", "12:30"),
        ("subgroups: {members: '20'}", "subgroups.members", 20),
        ("subgroups.members: 20", "subgroups.members", 20),
        ("attacks: {noise: no}", "attacks.noise", False),
        ("output: 2026-01-01", "output", "2026-01-01"),
        ("proxy: {adapter: null}", "proxy.adapter", None),
        ('{"seed": 5}', "seed", 5),
    ],
)
def test_values_in_a_file(settings: Any, tmp_path: Path, content: str, key: str, value: Any) -> None:
    """What YAML has several ways to write is what its author meant."""
    file = tmp_path / "settings.yaml"
    file.write_text(content)
    found = values(settings("--config", str(file)))[key]
    assert found == value
    assert type(found) is type(value)


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "missing: command; see ards-ray --help"),
        (
            "choose",
            "command: must be select, evaluate, verify, status, convert-checkpoint or benchmark, got choose; "
            "see ards-ray --help",
        ),
        ("select --nothing", "--nothing: no such option; see ards-ray select --help"),
        ("select --buget=3", "--buget: no such option; the nearest is --budget; see ards-ray select --help"),
        ("select --fresh=1", "--fresh: takes no value, got '1'; see ards-ray select --help"),
        ("select --model", "--model: a value is missing; see ards-ray select --help"),
        ("select extra", "extra: belongs to no option; see ards-ray select --help"),
        ("evaluate --bench_mark x", "--bench_mark: no such option; the nearest is --benchmark"),
        ("evaluate --benchmark", "--benchmark: a value is missing"),
        ("evaluate --engine vlm", "--engine: must be hf or vllm, got vlm"),
        ("evaluate --matching loose", "--matching: must be strict or lenient, got loose"),
        ("evaluate --score letter", "--score: must be generate or letters, got letter"),
        ("evaluate --dtype half", "--dtype: must be auto, float32, bfloat16 or float16, got half"),
        ("evaluate --limit ten", "--limit: must be a whole number, 1 or more, got ten"),
        ("evaluate --limit 1.5", "--limit: must be a whole number, 1 or more, got 1.5"),
        ("evaluate --workers 0", "--workers: must be a whole number, 1 or more, got 0"),
        ("evaluate --seed x", "--seed: must be a whole number, got x"),
        ("verify", "missing: RUN; see ards-ray verify --help"),
        ("benchmark scoring --device tpu", "--device: must be cpu or cuda, got tpu; see ards-ray benchmark scoring"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], arguments: str, message: str) -> None:
    """A script around the command sees a slip by the exit code, its author by the message."""
    with pytest.raises(SystemExit) as end:
        main(arguments.split())
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    command = " ".join(word for word in arguments.split()[:1] if word in ("select", "evaluate", "verify", "benchmark"))
    known = message.partition("; see ")[0]
    assert printed.err.startswith(f"error: {known}; see ards-ray {command}".rstrip())
    assert printed.err.endswith(" --help\n")
    assert printed.err.count("\n") == 1


@pytest.fixture
def evaluation(capsys: pytest.CaptureFixture[str]) -> Any:
    """The settings that some arguments of `evaluate` give, or the message with which they are refused."""

    def parse(*arguments: str) -> Any:
        code = main(["evaluate", "--print-config", *arguments])
        printed = capsys.readouterr()
        assert (code, printed.out == "") in ((0, False), (2, True))
        return yaml.safe_load(printed.out) if code == 0 else printed.err

    return parse


def test_settings_of_an_evaluation(evaluation: Any, tmp_path: Path) -> None:
    """An evaluation is repeated from its printed settings, whichever way they were given."""
    arguments = [
        "--model",
        "m",
        "--benchmark",
        "plain=a",
        "mmmu=b",
        "--images",
        "c",
        "mmmu=d",
        "--attacks",
        "clean,symbol",
    ]
    arguments += ["--symbols", "i,ii,iii", "--limit", "5", "--tensor-parallel", "2", "--engine", "vllm", "--seed", "7"]
    printed = evaluation(*arguments)
    assert printed["benchmarks"] == {"plain": "a", "mmmu": "b"}
    assert printed["images"] == {"all": "c", "mmmu": "d"}
    assert (printed["attacks"], printed["symbols"]) == (["clean", "symbol"], ["i", "ii", "iii"])
    assert (printed["limit"], printed["tensor_parallel"], printed["seed"]) == (5, 2, 7)
    assert printed == {**evaluation(), **printed}, "a setting has no default"
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(printed))
    assert evaluation("--config", str(file)) == printed
    given = ("--set", "symbols=[A, B]", "--set", "benchmarks={plain: e}", "--set", "images={}", "--limit", "6")
    changes = {"symbols": ["A", "B"], "benchmarks": {"plain": "e"}, "images": {}, "limit": 6}
    assert evaluation("--config", str(file), *given) == printed | changes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "limt=3"), "--set limt: no such setting; the nearest is limit: a whole number, 1 or more, or null"),
        (("--set", "seed=-1"), "--set seed: must be 0 to 2147483647, got -1"),
        (("--set", "limit=0"), "--set limit: must be 1 or more, or null, got 0"),
        (("--set", "workers=none"), "--set workers: must be a whole number, 1 or more, or auto, got none"),
        (("--set", "score=letter"), "--set score: must be generate or letters, got letter"),
        (
            ("--set", "attacks=clean"),
            "--set attacks: must be a list of clean, permutation, symbol or symbol+permutation, got clean",
        ),
        (("--symbols", "QQ"), '--symbols: must be two or more different symbols, got ["Q", "Q"]'),
        (
            ("--set", "symbols=[Q, 1]"),
            "--set symbols: must be a list of texts, two or more different symbols, got [Q, 1]",
        ),
        (
            ("--set", "images=a"),
            "--set images: must be texts by their names, as in {name: text}, got a",
        ),
        (("--set", "limit"), "--set limit: write it as key=value"),
        (("--config", "none"), "--config none: no such file"),
        (("--set", "model.name=x"), "--set model.name: no such setting; the nearest is model: text or null"),
    ],
)
def test_wrong_settings_of_an_evaluation(evaluation: Any, arguments: tuple[str, ...], message: str) -> None:
    """Each in the words that those of a selection are told in."""
    assert evaluation(*arguments) == f"error: {message}\n"


def test_wrong_inputs_of_the_conversion(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The other command ends in the same way."""
    assert main(["convert-checkpoint", str(tmp_path / "missing"), str(tmp_path / "target")]) == 2
    # Libraries may have said something before.
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    assert str(tmp_path / "missing") in message
    assert not (tmp_path / "target").exists()
