"""Bad input: a bad conversation is one failed row with its reason, a wrong setting ends the job before any work."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from tables import read_signals, read_summary, read_table, times

LIMITS = ("limits.pixels=150000", "limits.positions=400")
LEFT_FOLDER = "image path leaves the image folder"


def turns(*texts: str) -> list[dict[str, str]]:
    """Turns of human and model, one after the other."""
    return [{"from": ("human", "gpt")[index % 2], "value": text} for index, text in enumerate(texts)]


def about(image: object, *texts: str) -> dict[str, Any]:
    return {"image": image, "conversations": turns(*(texts or ("<image>\nWhat is it?", "A house.")))}


def said(*texts: str) -> dict[str, Any]:
    return {"conversations": turns(*texts)}


# A record, and why it fails: None where it does not.
CASES: dict[str, tuple[Any, str | None]] = {
    "missing": (about("missing.png"), "image not found"),
    "empty": (about("empty.png"), "image is empty"),
    "truncated": (about("truncated.png"), "image cannot be decoded"),
    "text": (about("text.png"), "image cannot be decoded"),
    "bomb": (about("bomb.png"), "image is too large"),
    "folder": (about("folder"), "image cannot be read"),
    "parent": (about("../outside.png"), LEFT_FOLDER),
    "link": (about("link.png"), LEFT_FOLDER),
    "two images": (about(["cmyk.jpg", "grey.png"]), "several images"),
    "no path": (about({"path": "cmyk.jpg"}), "image is not a path"),
    "no human turn": ({"conversations": [{"from": "gpt", "value": "Hello."}]}, "no human turn"),
    "two human turns": ({"conversations": turns("One?")[:1] * 2 + turns("", "Two.")[1:]}, "turns do not alternate"),
    "no turns": ({"conversations": []}, "no conversation"),
    "no answer": (said("Why?"), "no answer"),
    "empty answer": (said("Why?", " "), "empty answer"),
    "nameless": ({"conversations": [{"from": "system", "value": "Be kind."}]}, "unknown speaker"),
    "not text": ({"conversations": [{"from": "human", "value": 7}]}, "malformed turn"),
    "tag without image": (said("<image>\nWhat is it?", "A house."), "image tag without an image"),
    "image without tag": (about("cmyk.jpg", "What is it?", "A house."), "image without an image tag"),
    "two tags": (about("cmyk.jpg", "<image>\n<image>\nWhat is it?", "A house."), "several image tags"),
    "cut off": (said("Tell me more. " * 300, "No."), "answer cut off"),
    "no object": ("a string", "not an object"),
    "number": (7, "not an object"),
    "special token": (said("What does <pad> mean?", "Padding."), "special token in the text"),
    "end token": (said("Give an example.", "One</s>USER: Two ASSISTANT: Three"), "special token in the text"),
    "16 bits": (about("grey16.png"), "image has more than 8 bits a channel"),
    "images": ({"images": ["cmyk.jpg"]} | said("What?", "A house."), "pictures under a key that is not read"),
    "video": (said("<video>\nWhat happens?", "Nothing."), "picture tag that is not read"),
    "no image": (about("none", "What?", "A house."), None),
    "gif": (about("gif.jpg"), None),
    "cmyk": (about("cmyk.jpg"), None),
    "grey": (about("grey.png"), None),
    "palette": (about("palette.png"), None),
    "transparent": (about("transparent.png"), None),
    "in a list": (about(["cmyk.jpg"]), None),
    "leading answer": ({"conversations": [{"from": "gpt", "value": "Hi."}, *turns("Why?", "So.")]}, None),
}


def write_images(folder: Path) -> None:
    picture = Image.linear_gradient("L").resize((60, 40))
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.save(folder / "grey.png")
    picture.convert("I;16").save(folder / "grey16.png")
    picture.convert("P").save(folder / "palette.png")
    picture.convert("RGBA").save(folder / "transparent.png")
    picture.save(folder / "gif.jpg", format="GIF")
    (folder / "truncated.png").write_bytes((folder / "transparent.png").read_bytes()[:100])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("<html>404</html>")
    (folder / "folder").mkdir()
    Image.new("RGB", (500, 400)).save(folder / "bomb.png")
    picture.save(folder.parent / "outside.png")
    (folder / "link.png").symlink_to(folder.parent / "outside.png")


@dataclass
class Inputs:
    """A corpus with good conversations and every kind of bad one, and its images."""

    corpus: Path
    images: Path
    reasons: dict[int, str | None]


@pytest.fixture(scope="module")
def inputs(demo_inputs: Any, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("bad")
    images = Path(shutil.copytree(demo_inputs.images, folder / "images"))
    write_images(images)
    good = json.loads(demo_inputs.corpus.read_text())[:40]
    records: list[Any] = []
    reasons: dict[int, str | None] = {}
    corpus = folder / "corpus.json"
    cases = CASES | {
        "absolute": (about(str(folder / "outside.png")), LEFT_FOLDER),
        "absolute inside": (about(str(images / "cmyk.jpg")), None),
        "embedded": (about(f"{corpus}#0"), "image is not a path"),
    }
    for number, (name, (record, reason)) in enumerate(cases.items()):
        records.append(good[number])
        reasons[len(records)] = reason
        records.append({"id": name} | record if isinstance(record, dict) else record)
    records += good[len(cases) :]
    # The same conversation under the same id, which happens where corpora are put together.
    records += [good[0]]
    corpus.write_text(json.dumps(records))
    return Inputs(corpus, images, reasons)


@pytest.fixture(scope="module")
def stopped(ray_job: Any, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The run that ended because too many conversations failed, and what it said."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    return run, ray_job(run, "--corpus", inputs.corpus, "--images", inputs.images, settings=LIMITS)


@pytest.fixture
def stopped_run(stopped: tuple[Path, Any], tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped[0], tmp_path / "run"))


def test_each_bad_conversation_is_one_failed_row_with_its_reason(stopped: tuple[Path, Any], inputs: Inputs) -> None:
    """A wrong reason sends whoever mends the corpus the wrong way; a good row that fails is lost from the mixture."""
    run, _ = stopped
    signals = {entry["row"]: entry for entry in read_signals(run).to_pylist()}
    corpus = json.loads(inputs.corpus.read_text())
    assert list(signals) == list(range(len(corpus)))
    found = {row: (entry["error"] or "").split(": ")[0] or None for row, entry in signals.items()}
    assert found == {row: inputs.reasons.get(row) for row in range(len(corpus))}
    for entry in signals.values():
        assert entry["status"] == ("failed" if entry["error"] else "ok")
        assert (entry["vector"] is None) == (entry["clean_loss"] is None) == (entry["status"] == "failed")
    failures = [json.loads(line) for line in (run / "failures.jsonl").read_text().splitlines()]
    expected = sorted(row for row, reason in inputs.reasons.items() if reason)
    assert sorted(entry["row"] for entry in failures) == expected
    for entry in failures:
        assert entry["error"] == signals[entry["row"]]["error"]
        assert entry["source"] == str(inputs.corpus)
        record = corpus[entry["row"]]
        assert entry["id"] == (record["id"] if isinstance(record, dict) else "")


def test_failures_name_the_image(stopped: tuple[Path, Any], inputs: Inputs) -> None:
    """Without its name, nobody finds the broken one among a million files."""
    run, _ = stopped
    signals = read_signals(run).to_pylist()
    conversations = read_table(run, "conversations").to_pylist()
    for conversation, signal in zip(conversations, signals, strict=True):
        if signal["error"] and signal["error"].startswith(
            ("image not", "image is too", "image is empty", "image cannot")
        ):
            assert conversation["images"][0] in signal["error"]


def test_too_many_failures_end_the_job_and_keep_everything(stopped: tuple[Path, Any], inputs: Inputs) -> None:
    """A mixture of what happened to be readable is not what was asked for; what was scored was paid for."""
    run, outcome = stopped
    reasons = [reason for reason in inputs.reasons.values() if reason]
    assert outcome.code == 3, outcome.text
    for reason in set(reasons):
        assert f"{reason} {reasons.count(reason)}" in outcome.text
    total = len(json.loads(inputs.corpus.read_text()))
    assert "The most frequent reason, for example: " in outcome.text
    assert f"{len(reasons)} of {total} conversations failed" in outcome.text
    for word in ("limits.failed_fraction (0.05)", "failures.jsonl", "--retry-failed"):
        assert word in outcome.text
    assert not (run / "methods").exists()


def test_a_higher_limit_scores_nothing_twice(stopped_run: Path, job: Any, inputs: Inputs) -> None:
    """Raising the limit is the way on, and must not cost the GPUs again."""
    before = times(stopped_run, "conversations", "signals")
    settings = (*LIMITS, "limits.failed_fraction=0.6")
    outcome = job(stopped_run, "--corpus", inputs.corpus, "--images", inputs.images, settings=settings)
    assert outcome.code == 0, outcome.text
    assert times(stopped_run, "conversations", "signals") == before
    summary = read_summary(stopped_run)
    failed = sum(reason is not None for reason in inputs.reasons.values())
    total = len(json.loads(inputs.corpus.read_text()))
    assert (summary["failed"], summary["scored"], summary["conversations"]) == (failed, total - failed, total)
    assert sum(summary["failures"].values()) == failed
    corpus = json.loads(inputs.corpus.read_text())
    mixture = json.loads((stopped_run / "methods/ards/mixture.json").read_text())
    assert len(mixture) == summary["selected"] == int(0.3 * total)
    bad = [corpus[row] for row, reason in inputs.reasons.items() if reason]
    assert not [record for record in mixture if record in bad]


def test_a_method_without_signals_has_no_failures_and_keeps_those_of_others(
    stopped_run: Path, job: Any, inputs: Inputs
) -> None:
    """What cannot be scored can be drawn; and a random baseline must not empty the list of what is to be mended."""
    before = (stopped_run / "failures.jsonl").read_bytes()
    named = ("--corpus", inputs.corpus, "--images", inputs.images, "--method", "random")
    outcome = job(stopped_run, *named, settings=LIMITS)
    assert outcome.code == 0, outcome.text
    assert (stopped_run / "failures.jsonl").read_bytes() == before
    assert read_summary(stopped_run, "random")["failed"] == 0


def test_a_mended_image_is_scored_alone(stopped_run: Path, job: Any, inputs: Inputs, tmp_path: Path) -> None:
    """One downloads the missing image again and wants that row, not the corpus, scored."""
    images = tmp_path / "images"
    shutil.copytree(inputs.images, images, symlinks=True)
    Image.linear_gradient("L").save(images / "missing.png")
    before = read_signals(stopped_run).to_pylist()
    named = ("--corpus", inputs.corpus, "--images", images)
    settings = (*LIMITS, "limits.failed_fraction=0.6")
    outcome = job(stopped_run, *named, "--retry-failed", settings=settings)
    assert outcome.code == 0, outcome.text
    (mended,) = [row for row, entry in enumerate(before) if entry["error"] == "image not found: missing.png"]
    after = read_signals(stopped_run).to_pylist()
    assert after[mended]["status"] == "ok"
    assert after[mended]["corruption"] == "noise"
    assert [entry for entry in after if entry["row"] != mended] == [e for e in before if e["row"] != mended]
    assert read_summary(stopped_run)["failed"] == sum(entry["status"] == "failed" for entry in before) - 1
    lines = (stopped_run / "failures.jsonl").read_text().splitlines()
    assert mended not in [json.loads(line)["row"] for line in lines]
    assert job(stopped_run, *named, settings=settings).text.count("Nothing to do") == 1


def test_links_that_are_followed_after_all(stopped_run: Path, job: Any, inputs: Inputs) -> None:
    """One learns from the failures that a linked folder is refused, and wants those rows scored and no others."""
    before = read_signals(stopped_run).to_pylist()
    settings = (*LIMITS, "limits.failed_fraction=0.6", "corpus.links=follow")
    named = ("--corpus", inputs.corpus, "--images", inputs.images)
    outcome = job(stopped_run, *named, "--retry-failed", settings=settings)
    assert outcome.code == 0, outcome.text
    (linked,) = [row for row, entry in enumerate(before) if "corpus.links=follow" in (entry["error"] or "")]
    after = read_signals(stopped_run).to_pylist()
    assert after[linked]["status"] == "ok"
    assert [entry for entry in after if entry["row"] != linked] == [e for e in before if e["row"] != linked]


def other_model(change: Callable[[Path], None]) -> Callable[[Path, Any], list[object]]:
    def arguments(folder: Path, demo_inputs: Any) -> list[object]:
        model = Path(shutil.copytree(demo_inputs.model, folder / "model"))
        change(model)
        return ["--model", model]

    return arguments


def other_corpus(content: str) -> Callable[[Path, Any], list[object]]:
    def arguments(folder: Path, demo_inputs: Any) -> list[object]:
        (folder / "corpus.json").write_text(content)
        return ["--corpus", folder / "corpus.json"]

    return arguments


def given(*arguments: object) -> Callable[[Path, Any], list[object]]:
    return lambda folder, demo_inputs: [str(argument).replace("FOLDER", str(folder)) for argument in arguments]


def unknown_family(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"model_type": "resnet"}))


def without_tokenizer(model: Path) -> None:
    for file in model.glob("tokenizer*"):
        file.unlink()


def senseless_template(model: Path) -> None:
    (model / "chat_template.jinja").write_text("{% for m in messages %}{{ m['role'] }}: {{ m['text'] }}\n{% endfor %}")


TEXT_ONLY = json.dumps([said(f"What is {number}?", "A number.") for number in range(20)])
WRONG_SETTINGS = {
    "truncated corpus": (other_corpus(TEXT_ONLY[:200]), "corpus.json: cut off after 1 conversations: the file ends at"),
    "broken corpus": (other_corpus('[{"a": 1}, oops]'), "broken JSON after 1 conversations, at byte 11"),
    "no corpus": (given("--corpus", "FOLDER/none.json"), "none.json: not found"),
    "empty corpus": (other_corpus(""), "corpus.json: empty file"),
    "no images": (given("--images", "FOLDER/none"), "corpus.images: "),
    "nothing to corrupt": (other_corpus(TEXT_ONLY), "nothing in this corpus can be corrupted"),
    "no conversations": (other_corpus("[]"), "0.3 of 0 conversations is none of them"),
    "unknown family": (other_model(unknown_family), "unknown model family 'resnet'"),
    "no tokenizer": (other_model(without_tokenizer), "tokenizer"),
    "chat template that cannot be understood": (
        other_model(senseless_template),
        "chat_template.jinja: the chat template",
    ),
    "no model": (given("--model", "FOLDER/none"), "none: no such folder"),
    "budget of nothing": (
        given("--budget", "0"),
        "mixture.budget: must be a fraction between 0 and 1 or a whole number of conversations from 1, got 0",
    ),
    "budget of one and a half": (given("--budget", "1.5"), "a whole number of conversations from 1, got 1.5"),
    "budget of words": (given("--budget", "half"), "budget"),
    "unknown setting": (given("--set", "subgroups.size=3"), "subgroups.size"),
    "unknown method": (
        given("--method", "ards,radnom"),
        "no method 'radnom'; there are ards, balanced, choice-first, full, like, random, stratified",
    ),
    "a method twice": (given("--method", "random,random"), "methods: random stands there twice"),
    "like without a mixture": (given("--method", "like"), "like.run: not stated; give --like RUN/METHOD"),
    "like a run that is none": (given("--method", "like", "--like", "FOLDER/none/ards"), "none is no run"),
    "no value": (given("--set", "seed"), "--set seed: write it as section.key=value"),
}


@pytest.mark.parametrize("case", WRONG_SETTINGS)
def test_a_wrong_setting_ends_the_job_before_any_work(case: str, job: Any, demo_inputs: Any, tmp_path: Path) -> None:
    """What is wrong is known at the start, so it must be said at the start and not after a night of scoring."""
    arguments, message = WRONG_SETTINGS[case]
    run = tmp_path / "run"
    outcome = job(run, *arguments(tmp_path, demo_inputs))
    assert outcome.code == 2, outcome.text
    assert "error: " in outcome.text
    assert message in outcome.text
    assert "Traceback" not in outcome.text
    assert not (run / "signals").exists()


def test_a_corpus_in_which_nothing_can_be_corrupted_is_refused_by_ards_alone(command: Any, tmp_path: Path) -> None:
    """Whoever wants a random mixture of plain text would be told of attacks that it does not need."""
    (tmp_path / "corpus.json").write_text(TEXT_ONLY)
    outcome = command("--corpus", tmp_path / "corpus.json", "--output", tmp_path / "run", "--method", "random")
    assert outcome.code == 0, outcome.text
    assert read_summary(tmp_path / "run", "random")["selected"] == 6


def test_a_folder_that_holds_something_else_is_left_alone(job: Any, tmp_path: Path) -> None:
    """A slip in --output must not mix a run into somebody's thesis."""
    (tmp_path / "thesis.tex").write_text("...")
    for arguments in ((), ("--fresh",)):
        outcome = job(tmp_path, *arguments)
        assert outcome.code == 2
        assert "holds something else (thesis.tex); name another" in outcome.text
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def drop_tensor(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    del tensors[sorted(tensors)[0]]
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})


def cut_weights(model: Path) -> None:
    content = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("break_weights", "message", "workers"),
    [
        (drop_tensor, "the checkpoint has no weights for", "ray_job"),
        (cut_weights, "the weights cannot be loaded", "job"),
    ],
    ids=["missing tensor", "cut off"],
)
def test_weights_that_do_not_load_end_the_job(
    break_weights: Callable[[Path], None],
    message: str,
    workers: str,
    request: pytest.FixtureRequest,
    demo_inputs: Any,
    tmp_path: Path,
) -> None:
    """Random numbers in place of missing weights would score as if nothing was wrong; workers that restart for ever
    would never tell."""
    run = request.getfixturevalue(workers)
    outcome = run(tmp_path / "run", *other_model(break_weights)(tmp_path, demo_inputs))
    assert outcome.code == 2, outcome.text
    assert outcome.text.count("error: ") == 1
    assert message in outcome.text
    assert str(tmp_path / "model") in outcome.text
    assert "Traceback" not in outcome.text
