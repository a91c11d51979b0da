"""Corpus files: their form is told by their content, and what is no corpus is refused at once."""

from pathlib import Path

import pytest
from corpora import parquet, refusal, write

from ards_ray.corpus.readers import read_corpus
from ards_ray.corpus.sources.json_array import JsonArray
from ards_ray.corpus.sources.json_lines import JsonLines
from ards_ray.corpus.sources.parquet import Parquet
from ards_ray.corpus.sources.registry import FORMS, mixture_form, open_corpus, open_source
from ards_ray.errors import CorpusError


def test_parquet_and_json_do_not_mix(tmp_path: Path) -> None:
    """The mixture of both would have no single form; that must not show after days of scoring."""
    one = parquet(tmp_path / "c.parquet", {"id": ["a"]})
    two = write(tmp_path / "c.json", "[{}]")
    with pytest.raises(CorpusError, match=r"c\.json is JSON and .*c\.parquet is Parquet"):
        read_corpus([one, two])


@pytest.mark.parametrize("content", [b"", b" \n\t ", b"\xef\xbb\xbf"])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    """An interrupted download must not pass for a corpus without conversations."""
    assert refusal(write(tmp_path / "c.json", content)).endswith("c.json: empty file")


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A wrong path, to an image folder's archive for instance, is said at once."""
    assert "neither a JSON array, JSON Lines nor Parquet" in refusal(write(tmp_path / "c.zip", b"PK\x03\x04..."))
    assert "cannot be read" in refusal(write(tmp_path / "c.json.gz", b"[{}]"))


def test_missing_file_is_named_before_anything_is_read(tmp_path: Path) -> None:
    """A mistyped second path should not cost the time of reading the first."""
    good = write(tmp_path / "a.json", "[{}]")
    with pytest.raises(CorpusError, match=r"gone\.json: not found"):
        read_corpus([good, str(tmp_path / "gone.json")])
    assert "not a file" in refusal(str(tmp_path))


@pytest.mark.parametrize("space", ["", "\ufeff", "\ufeff \n\t", " " * 10_000])
def test_form_is_told_by_content(tmp_path: Path, space: str) -> None:
    """Half of the published JSON Lines files are called `.json`."""
    contents = {JsonArray: "[{}]", JsonLines: "{}"}
    for form, content in contents.items():
        assert type(open_source(write(tmp_path / "c.txt", space + content))) is form
    assert type(open_source(parquet(tmp_path / "c.json", {"id": ["a"]}))) is Parquet


def test_form_of_the_mixture(tmp_path: Path) -> None:
    """The mixture is to be read by what reads the corpus; of two forms of JSON, the one that most trainers read."""
    array = write(tmp_path / "a.json", "[{}]")
    lines = write(tmp_path / "b.json", "{}")
    table = parquet(tmp_path / "c.parquet", {"id": ["a"]})
    for files, name in (
        ([array], "mixture.json"),
        ([lines, lines], "mixture.jsonl"),
        ([lines, array], "mixture.json"),
        ([table, table], "mixture"),
    ):
        assert mixture_form(open_corpus(files)).mixture_name == name


def test_names_of_mixtures_differ() -> None:
    """The mixture of a run is found by its name."""
    assert len({form.mixture_name for form in FORMS}) == len(FORMS)


def test_digest_is_that_of_the_content(tmp_path: Path) -> None:
    """A corpus that moved is the same, and one of which a character changed is not."""
    for text in ('[{"a": 1}]', '{"a": 1}'):
        one, two = (open_source(write(tmp_path / name, text)).digest() for name in ("a.json", "b.json"))
        assert one == two
        assert open_source(write(tmp_path / "a.json", text.replace("1", "2"))).digest() != one
