"""The evaluation job: brute force, requests, replicas, resume, recorded answers, wrong input."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluation_brute_force import brute_force
from PIL import Image

from ards_ray.cli import main
from ards_ray.cluster.replicas import RayReplicas
from ards_ray.evaluation.queue import Lane
from ards_ray.run.directory import RunDirectory

Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session")
def truth(answering: Any, questions: Path) -> dict[str, dict[str, list[bool]]]:
    """Every order of every question, asked one by one of the library's model."""
    return brute_force(answering.model, questions, answering.images)


def results_of(output: Path) -> dict[str, Any]:
    return json.loads((output / "results.json").read_text())


def answers_of(output: Path) -> list[dict[str, Any]]:
    return pq.read_table(output / "answers.parquet").to_pylist()


def percent(values: list[bool]) -> float:
    return 100 * sum(values) / len(values)


def test_the_model_answers_and_has_its_bias(answering: Any, truth: dict[str, dict[str, list[bool]]]) -> None:
    """A model that knows nothing, or has no bias, would make every test of this job pass."""
    assert (answering.model / "model.safetensors").stat().st_size < 5_000_000
    clean = percent([outcomes["letters"][0] for outcomes in truth.values()])
    assert clean >= 90
    assert percent([all(outcomes["letters"]) for outcomes in truth.values()]) <= clean - 20


def test_accuracies_are_those_of_brute_force(evaluated: Path, truth: dict[str, dict[str, list[bool]]]) -> None:
    """The paper's table, question by question: one that is stopped, matched or counted wrongly is a wrong number."""
    found = results_of(evaluated)["plain"]
    for column, key, worst in (
        ("clean", "letters", False),
        ("permutation", "letters", True),
        ("symbol", "others", False),
        ("symbol+permutation", "others", True),
    ):
        expected = {id: all(outcomes[key]) if worst else outcomes[key][0] for id, outcomes in truth.items()}
        assert found[column] == percent(list(expected.values()))
        rows = [row for row in answers_of(evaluated) if row["attack"] == column]
        by_question = {id: all(row["correct"] for row in rows if row["question"] == id) for id in truth}
        assert by_question == expected
    assert found["average"] == pytest.approx(
        sum(found[name] for name in ("clean", "permutation", "symbol", "symbol+permutation")) / 4
    )
    assert (found["questions"], found["exhaustive"], found["not_evaluated"]) == (len(truth), True, {})


def test_no_more_is_asked_than_needed(evaluated: Path, truth: dict[str, dict[str, list[bool]]]) -> None:
    """Each question's orders up to its first wrong one: what is asked beyond that is paid for in GPU hours."""
    needed = [
        outcomes[key].index(False) + 1 if False in outcomes[key] else len(outcomes[key])
        for outcomes in truth.values()
        for key in ("letters", "others")
    ]
    found = results_of(evaluated)["plain"]
    assert found["requests"] == sum(needed)
    assert found["exhaustive_requests"] == sum(len(one) for outcomes in truth.values() for one in outcomes.values())
    run = RunDirectory(str(evaluated))
    assert sum(part.rows for part in run.parts("answers")) == sum(needed)


def test_replicas_order_and_batches_change_nothing(
    evaluate: Command, arguments: list[object], evaluated: Path, questions: Path, answering: Any, tmp_path: Path
) -> None:
    """Two users with other machines would get other tables."""
    turned = tmp_path / "benchmark.json"
    turned.write_text(json.dumps(json.loads(questions.read_text())[::-1]))
    options = ["--model", answering.model, "--benchmark", f"plain={turned}", "--images", f"plain={answering.images}"]
    code, text = evaluate(*options, "--output", tmp_path / "run", "--workers", 2, "--batch-positions", 300)
    assert code == 0, text
    assert results_of(tmp_path / "run") == results_of(evaluated)

    def key(row: dict[str, Any]) -> tuple[str, str, list[int]]:
        return row["question"], row["attack"], row["order"]

    assert sorted(answers_of(tmp_path / "run"), key=key) == sorted(answers_of(evaluated), key=key)


def test_the_table_of_answers(evaluated: Path) -> None:
    """Whoever recomputes a column from its own rows gets the column."""
    table = pq.read_table(evaluated / "answers.parquet")
    assert table.column_names == [
        *("benchmark", "question", "attack", "order", "prompt", "answer", "parsed", "gold", "correct", "fixed")
    ]
    rows = table.to_pylist()
    given = {
        attack: {row["question"]: row["prompt"] for row in rows if row["attack"] == attack and row["order"][0] == 0}
        for attack in ("clean", "permutation")
    }
    assert given["clean"].keys() == given["permutation"].keys()
    for row in rows:
        assert row["correct"] == (row["answer"] == row["gold"])
        lines = row["prompt"].split("\n")[2:-1]
        assert len(lines) == len(row["order"])
    markdown = (evaluated / "results.md").read_text()
    found = results_of(evaluated)["plain"]
    for number in (found["clean"], found["permutation"], found["average"]):
        assert f" {number:.1f} |" in markdown
    for word in ("SA+PA", "requests", "saved", "**Clean**", "**exhaustive**"):
        assert word in markdown


def stop_after(monkeypatch: pytest.MonkeyPatch, waves: int) -> None:
    """Break off after so many waves whose answers were stored."""
    record = Lane.record
    recorded = 0

    def stopping(self: Lane, *arguments: Any) -> int:
        nonlocal recorded
        recorded += 1
        count = record(self, *arguments)
        if recorded == waves:
            raise KeyboardInterrupt
        return count

    monkeypatch.setattr(Lane, "record", stopping)


def test_answered_requests_are_not_asked_again(
    evaluate: Command, arguments: list[object], evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night's answers would be thrown away by whatever ends the job in the morning."""
    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert evaluate(*arguments, "--output", output)[0] == 130
    run = RunDirectory(str(output))
    before = sum(part.rows for part in run.parts("answers"))
    assert 0 < before < results_of(evaluated)["plain"]["requests"]
    assert not run.exists("results.json")
    code, text = evaluate(*arguments, "--output", output)
    assert code == 0, text
    assert f"{before:,} answers are known" in text
    assert results_of(output) == results_of(evaluated)
    assert answers_of(output) == answers_of(evaluated)
    assert sum(part.rows for part in run.parts("answers")) == results_of(evaluated)["plain"]["requests"]


def test_a_finished_evaluation_asks_nothing(
    evaluate: Command, arguments: list[object], evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another matcher, fewer columns: computed from what is known. A changed picture is looked at again."""
    output = Path(shutil.copytree(evaluated, tmp_path / "run"))
    monkeypatch.setattr(RayReplicas, "ask", lambda *_: pytest.fail("a question was asked again"))
    assert evaluate(*arguments, "--output", output, "--attacks", "clean,symbol")[0] == 0
    found = results_of(output)["plain"]
    assert (found["clean"], found["permutation"]) == (results_of(evaluated)["plain"]["clean"], None)
    assert (found["requests"], found["average"]) == (2 * results_of(evaluated)["plain"]["questions"], None)


def test_an_evaluation_is_repeated_from_its_settings(
    evaluate: Command, evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without them nobody knows how a table was made; the run has them all, as they were used."""
    output = Path(shutil.copytree(evaluated, tmp_path / "run"))
    monkeypatch.setattr(RayReplicas, "ask", lambda *_: pytest.fail("a question was asked again"))
    code, text = evaluate("--config", output / "config.yaml", "--output", output)
    assert code == 0, text
    assert results_of(output) == results_of(evaluated)
    before, after = ((run / "config.yaml").read_text() for run in (evaluated, output))
    assert after == before.replace(str(evaluated), str(output))
    assert {"device: cpu", "dtype: float32"} <= set(after.splitlines())


RESULTS = ("answers.parquet", "not_evaluated.jsonl", "results.json", "results.md")


def test_a_finished_evaluation_is_not_written_again(
    evaluate: Command, arguments: list[object], evaluated: Path, tmp_path: Path
) -> None:
    """Whatever watches the files of a run would take results of last year for those of today."""
    output = Path(shutil.copytree(evaluated, tmp_path / "run"))
    assert evaluate(*arguments, "--output", output)[0] == 0
    files = [file for file in output.rglob("*") if file.is_file()]
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    assert {output / name for name in (*RESULTS, "run.json", "config.yaml")} <= before.keys()
    code, text = evaluate(*arguments, "--output", output)
    assert code == 0, text
    assert "Nothing to do: this run is finished." in text
    assert "SA+PA" in text
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files} == before
    assert "Nothing to do" not in evaluate(*arguments, "--output", output, "--matching", "lenient")[1]


@pytest.mark.parametrize("name", RESULTS)
def test_lost_results_are_written_again(
    evaluate: Command, arguments: list[object], evaluated: Path, tmp_path: Path, name: str
) -> None:
    """A finished run would for ever lack a file that someone deleted, or have another one in its place."""
    output = Path(shutil.copytree(evaluated, tmp_path / "run"))
    (output / name).unlink()
    code, text = evaluate(*arguments, "--output", output)
    assert code == 0, text
    assert "Nothing to do" not in text
    assert (output / name).read_bytes() == (evaluated / name).read_bytes()
    assert main(["verify", str(output)]) == 0


EVALUATE = """
import sys
sys.modules["ray"] = None  # An import of it fails.
from ards_ray import EvaluationSettings, evaluate
from ards_ray.evaluation.loop import loop_workers
model, benchmark, images, output = sys.argv[1:]
settings = EvaluationSettings(model=model, benchmarks={"plain": benchmark}, images={"plain": images}, output=output)
for worked in (True, False):
    evaluated = evaluate(settings, open_workers=loop_workers)
    (result,) = evaluated.results
    assert (evaluated.run, evaluated.worked) == (output, worked)
    assert (result.benchmark, result.metrics.questions, list(result.not_evaluated)) == ("plain", 24, [])
    assert result.metrics.accuracy["clean"] >= 90
"""


def test_a_loop_has_the_same_results_without_ray(
    evaluated: Path, answering: Any, questions: Path, tmp_path: Path
) -> None:
    """In a notebook one would get other numbers than on the cluster, or a Ray that one does not want."""
    named = [str(path) for path in (answering.model, questions, answering.images, tmp_path / "loop")]
    done = subprocess.run([sys.executable, "-c", EVALUATE, *named], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    for name in RESULTS:
        assert (tmp_path / "loop" / name).read_bytes() == (evaluated / name).read_bytes(), name


def test_changed_pictures_are_asked_about_again(
    evaluate: Command, answering: Any, questions: Path, evaluated: Path, tmp_path: Path
) -> None:
    """Recorded answers to a picture that was mended would stand for it for ever."""
    images = shutil.copytree(answering.images, tmp_path / "images")
    options = [
        "--model",
        answering.model,
        "--benchmark",
        f"plain={questions}",
        "--images",
        images,
        "--attacks",
        "clean",
    ]
    output = tmp_path / "run"
    assert evaluate(*options, "--output", output)[0] == 0
    Image.new("RGB", (60, 56)).save(images / json.loads(questions.read_text())[4]["image"])
    code, text = evaluate(*options, "--output", output)
    assert code == 0, text
    count = len(json.loads(questions.read_text()))
    assert f"{count - 1} answers are known" in text
    assert sum(part.rows for part in RunDirectory(str(output)).parts("answers")) == count + 1


def test_linked_images(evaluate: Command, answering: Any, questions: Path, tmp_path: Path) -> None:
    """Image folders are put together from links; the option is named where one is refused."""
    records = json.loads(questions.read_text())[:2]
    benchmark = tmp_path / "benchmark.json"
    benchmark.write_text(json.dumps([{**one, "image": f"linked/{one['image']}"} for one in records]))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "linked").symlink_to(answering.images)
    options = ["--model", answering.model, "--benchmark", f"plain={benchmark}", "--images", tmp_path / "images"]
    options += ["--attacks", "clean", "--output", tmp_path / "run"]
    code, text = evaluate(*options)
    assert code == 1
    assert "2 not evaluated: image path leaves the image folder" in text
    assert "--links follow" in (tmp_path / "run" / "not_evaluated.jsonl").read_text()
    code, text = evaluate(*options, "--links", "follow")
    assert code == 0, text
    assert results_of(tmp_path / "run")["plain"]["questions"] == 2


def test_answers_of_an_earlier_version(evaluate: Command, evaluated: Path, tmp_path: Path) -> None:
    """Without a word on which options stay, orders that were never to be asked would count as missing."""
    table = pq.read_table(evaluated / "answers.parquet").drop_columns(["fixed"])
    pq.write_table(table, tmp_path / "answers.parquet")
    code, text = evaluate("--answers", tmp_path)
    assert code == 2
    assert "no column 'fixed'; if an earlier version wrote it, evaluate again" in text


def test_recorded_answers_overwrite_no_other_results(evaluate: Command, evaluated: Path, tmp_path: Path) -> None:
    """Other tools write a results.json as well."""
    other = tmp_path / "results.json"
    other.write_text("{}")
    code, text = evaluate("--answers", evaluated, "--output", tmp_path)
    assert code == 2
    assert "the output folder holds something else (results.json)" in text
    assert other.read_text() == "{}"


def test_results_from_recorded_answers(evaluate: Command, evaluated: Path, tmp_path: Path) -> None:
    """The table again, or with a stricter matcher, years later and without the model."""
    (tmp_path / "kept").mkdir()
    shutil.copy(evaluated / "answers.parquet", tmp_path / "kept")
    code, text = evaluate("--answers", tmp_path / "kept", "--output", tmp_path / "again")
    assert code == 0, text
    assert results_of(tmp_path / "again") == results_of(evaluated)
    assert evaluate("--answers", tmp_path / "kept", "--output", tmp_path / "again")[0] == 0
    rows = answers_of(evaluated)
    for row in rows:
        row["answer"] = f"({row['answer']})"
    pq.write_table(
        pa.Table.from_pylist(rows, pq.read_schema(evaluated / "answers.parquet")), tmp_path / "answers.parquet"
    )
    assert evaluate("--answers", tmp_path, "--output", tmp_path / "strict")[0] == 0
    assert results_of(tmp_path / "strict")["plain"]["clean"] == 0
    assert evaluate("--answers", tmp_path, "--output", tmp_path / "lenient", "--matching", "lenient")[0] == 0
    assert results_of(tmp_path / "lenient") == results_of(evaluated)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"order": [0, 0, 1, 2]}, "an order is none of as many options"),
        ({"order": [0, 1]}, "an order is none of as many options"),
        ({"order": []}, "an order is none of as many options"),
        ({"attack": "clean"}, "more than the given order"),
        ({"gold": "E"}, "'E' is none of A, B, C, D"),
        ({"attack": "noise"}, "unknown attack 'noise'"),
        ({"fixed": [3]}, "the options that stay are not the same in every order"),
    ],
)
def test_recorded_answers_that_no_evaluation_wrote(
    evaluate: Command, evaluated: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """Put together by a script that went wrong, they would give numbers that look like any others."""
    table = pq.read_table(evaluated / "answers.parquet")
    rows = table.to_pylist()
    place = next(
        index for index, row in enumerate(rows) if row["attack"] == "permutation" and row["order"] == [1, 2, 3, 0]
    )
    rows[place] |= change | ({} if "gold" in change else {"gold": "A"})
    pq.write_table(pa.Table.from_pylist(rows, table.schema), tmp_path / "answers.parquet")
    code, text = evaluate("--answers", tmp_path)
    assert code == 2, text
    assert said in text
    moved = [row | {"fixed": [1]} for row in table.to_pylist()]
    for others in (moved, rows + rows[:1], [row for row in rows if row["attack"] != "clean"][1:]):
        pq.write_table(pa.Table.from_pylist(others, table.schema), tmp_path / "answers.parquet")
        assert evaluate("--answers", tmp_path)[0] == 2


def test_recorded_answers_of_other_columns(evaluate: Command, evaluated: Path, tmp_path: Path) -> None:
    """Nothing printed and exit code 0 would be taken for a result."""
    table = pq.read_table(evaluated / "answers.parquet")
    pq.write_table(table.slice(0, 0), tmp_path / "answers.parquet")
    code, text = evaluate("--answers", tmp_path)
    assert code == 2
    assert "no answers under clean, permutation, symbol" in text
    pq.write_table(table, tmp_path / "answers.parquet")
    (tmp_path / "not_evaluated.jsonl").write_text(
        '{"benchmark": "plain", "question": "x", "error": "no gold answer"}\n'
    )
    assert evaluate("--answers", tmp_path, "--output", tmp_path / "out")[0] == 0
    assert results_of(tmp_path / "out")["plain"]["not_evaluated"] == {"no gold answer": 1}
    (tmp_path / "not_evaluated.jsonl").write_text('{"benchmark": "plain"}\n')
    code, text = evaluate("--answers", tmp_path)
    assert code == 2
    assert "not_evaluated.jsonl: line 1 is no question with its error" in text


def test_recorded_answers_that_end_too_early(evaluate: Command, evaluated: Path, tmp_path: Path) -> None:
    """A question that was not asked to its end would count as right in every order."""
    table = pq.read_table(evaluated / "answers.parquet")
    rows = [row for row in table.to_pylist() if row["attack"] != "permutation" or row["order"][0] == 0]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), tmp_path / "answers.parquet")
    code, text = evaluate("--answers", tmp_path)
    assert code == 1
    assert "is not finished" in text
    assert evaluate("--answers", tmp_path / "nothing")[0] == 2


def test_what_cannot_be_evaluated_is_counted(evaluate: Command, answering: Any, tmp_path: Path) -> None:
    """A question that is dropped in silence, or counted as wrong, makes a benchmark of another one."""
    good = json.loads(answering.benchmark.read_text())[0]
    bad = [
        {"image": "missing.png"},
        {"image": "broken.png"},
        {"answer": None},
        {"answer": 7},
        {"options": ["red", "red", "blue"], "answer": 0},
        {"options": ["A", "red"], "answer": 0},
        {"options": ["A. red", "blue"], "answer": 0},
        {"options": ["", "red"], "answer": 1},
        {"options": [f"colour {number}" for number in range(9)], "answer": 0},
        {"options": ["red"], "answer": 0},
        {"question": "word " * 5000},
        {"id": good["id"]},
    ]
    records = [good, *(good | {"id": f"bad {number}"} | change for number, change in enumerate(bad))]
    (tmp_path / "benchmark.json").write_text(json.dumps(records))
    images = Path(shutil.copytree(answering.images, tmp_path / "images"))
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    output = tmp_path / "run"
    code, text = evaluate(
        *("--model", answering.model, "--benchmark", f"plain={tmp_path}", "--images", images, "--output", output)
    )
    assert code == 0, text
    found = results_of(output)["plain"]
    assert found["questions"] == 1
    assert sum(found["not_evaluated"].values()) == len(bad)
    assert set(found["not_evaluated"]) == {
        "image not found",
        "image cannot be decoded",
        "no gold answer",
        "gold answer out of range",
        "gold answer is an option twice",
        "option reads as a symbol",
        "empty option",
        "more options than symbols",
        "fewer than two options",
        "prompt is too long",
        "id of another question",
    }
    lines = [json.loads(line) for line in (output / "not_evaluated.jsonl").read_text().splitlines()]
    assert len(lines) == len(bad)
    assert {"benchmark", "question", "error"} == set(lines[0])
    assert "image not found" in (output / "results.md").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--benchmark", "nothing=x"], "--benchmark nothing: no such benchmark; there are scienceqa, "),
        (["--benchmark", "plain"], "write it as NAME=PATH"),
        (["--benchmark", "plain=missing"], "not found"),
        (["--benchmark", "plain=EMPTY"], "no benchmark.json in this folder"),
        (["--benchmark", "plain=GOOD", "--images", "missing"], "is no folder"),
        (["--benchmark", "plain=GOOD", "--images", "GOOD"], "is no folder"),
        (["--benchmark", "plain=GOOD"], "say where they are with --images plain=DIR"),
        (["--images", "EMPTY"], "--benchmark: not stated"),
        (["--benchmark", "plain=GOOD", "--answers", "EMPTY"], "--benchmark: beside --answers there is nothing to ask"),
        (
            ["--benchmark", "plain=GOOD", "--images", "IMAGES", "--adapter", "EMPTY"],
            "no adapter_model.safetensors here",
        ),
        (["--benchmark", "plain=GOOD", "--images", "mmmu=x"], "mmmu is none of the benchmarks"),
        (["--benchmark", "plain=GOOD", "--images", "IMAGES", "--model", "EMPTY"], "no config.json here"),
        (["--benchmark", "plain=GOOD", "--model", "missing/model/x"], "no such folder"),
        (
            ["--benchmark", "plain=GOOD", "--attacks", "clean,noise"],
            '--attacks: must be a list of clean, permutation, symbol or symbol+permutation, got ["clean", "noise"]',
        ),
        (
            ["--benchmark", "plain=GOOD", "--symbols", "AAB"],
            '--symbols: must be two or more different symbols, got ["A", "A", "B"]',
        ),
        (
            ["--benchmark", "plain=GOOD", "--images", "IMAGES", "--score", "letters", "--symbols", "Xa,Xb,Xc,Xd"],
            "do not tell Xa, Xb, ",
        ),
        (["--benchmark", "plain=GOOD", "--limit", "0"], "--limit: must be a whole number, 1 or more, got 0"),
        (["--benchmark", "plain=GOOD", "--tensor-parallel", "2"], "--engine vllm"),
        (
            ["--benchmark", "plain=GOOD", "--images", "IMAGES", "--engine", "vllm", "--tensor-parallel", "2"],
            "--tensor-parallel: the cluster has no GPUs to share a replica",
        ),
        (["--benchmark", "plain=GOOD", "--images", "IMAGES", "--engine", "vllm"], "vLLM cannot be imported"),
    ],
)
def test_wrong_options(
    evaluate: Command, answering: Any, questions: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    """Named before hours are spent, not after."""
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": str(tmp_path / "empty"), "GOOD": str(questions), "IMAGES": str(answering.images)}
    options = [next((option.replace(key, place) for key, place in places.items() if key in option), option)
               for option in options]  # fmt: skip
    model = [] if "--model" in options else ["--model", answering.model]
    code, text = evaluate(*model, *options, "--output", tmp_path / "run")
    assert code == 2, text
    assert said in text


def test_a_model_that_cannot_load(evaluate: Command, answering: Any, questions: Path, tmp_path: Path) -> None:
    """What a replica says of it arrives, and not only that some process died."""
    model = Path(shutil.copytree(answering.model, tmp_path / "model"))
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    options = ["--model", model, "--benchmark", f"plain={questions}", "--images", answering.images]
    code, text = evaluate(*options, "--output", tmp_path / "run")
    assert code == 2, text
    assert "the weights cannot be loaded" in text


def test_fresh_starts_over_and_a_slip_costs_nothing(
    evaluate: Command, arguments: list[object], evaluated: Path, tmp_path: Path
) -> None:
    """A typing error beside --fresh must not throw a night's answers away; an old version's must not be in the way."""
    output = Path(shutil.copytree(evaluated, tmp_path / "run"))
    assert evaluate(*arguments, "--output", output, "--fresh", "--adapter", tmp_path / "typo")[0] == 2
    assert RunDirectory(str(output)).parts("answers")
    content = json.loads((output / "run.json").read_text())
    (output / "run.json").write_text(json.dumps(content | {"schema_version": 1}))
    code, text = evaluate(*arguments, "--output", output, "--attacks", "clean")
    assert code == 2
    assert "start over with --fresh" in text
    code, text = evaluate(*arguments, "--output", output, "--attacks", "clean", "--fresh")
    assert code == 0, text
    assert "are known" not in text
    assert results_of(output)["plain"]["requests"] == results_of(output)["plain"]["questions"]


def test_selections_and_evaluations_are_kept_apart(
    evaluate: Command,
    command: Callable[..., Any],
    arguments: list[object],
    evaluated: Path,
    finished: Path,
    demo_inputs,
) -> None:
    """Also with --fresh: a run of days would be thrown away for a slip in the output's name."""
    code, text = evaluate(*arguments, "--output", finished, "--fresh")
    assert code == 2
    assert "the output holds a selection" in text
    inputs = ("--corpus", demo_inputs.corpus, "--images", demo_inputs.images, "--model", demo_inputs.model)
    outcome = command(*inputs, "--output", evaluated, "--fresh")
    assert outcome.code == 2
    assert "the output holds an evaluation" in outcome.text


def test_a_benchmark_without_an_answer_is_an_error(evaluate: Command, arguments: list[object], tmp_path: Path) -> None:
    """A table of dashes and exit code 0: whoever waits for the job in a script goes on with nothing."""
    (tmp_path / "images").mkdir()
    options = [*arguments[:-1], tmp_path / "images"]
    code, text = evaluate(*options, "--output", tmp_path / "run", "--attacks", "clean")
    assert code == 1, text
    assert "plain: no question could be evaluated" in text
    assert results_of(tmp_path / "run")["plain"]["not_evaluated"] == {"image not found": 24}


def test_another_model_is_refused(evaluate: Command, arguments: list[object], evaluated: Path, tmp_path: Path) -> None:
    """Half of one model's answers and half of another's make a table of neither."""
    output = shutil.copytree(evaluated, tmp_path / "run")
    code, text = evaluate(*arguments, "--output", output, "--score", "letters")
    assert code == 2
    assert 'score: "letters", was "generate"' in text
    assert results_of(output) == results_of(evaluated)


def test_verify_and_status_know_evaluations(
    evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other commands on a run directory, on this kind too."""
    output = Path(shutil.copytree(evaluated, tmp_path / "run"))
    assert main(["verify", str(output)]) == 0
    assert main(["status", str(output)]) == 0
    assert "Evaluation: done" in capsys.readouterr().out
    part = next((output / "answers").iterdir())
    part.write_bytes(part.read_bytes()[:-1])
    assert main(["verify", str(output)]) == 1
