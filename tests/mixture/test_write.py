"""The mixture, in the form of its corpus, and the source folders that the summary counts."""

import io
import json
import posixpath
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import IMAGE, conversation, parquet, write

from ards_ray.config import CorpusSettings, RuntimeSettings, Settings
from ards_ray.corpus.readers import embedded_row
from ards_ray.corpus.stage import write_conversations
from ards_ray.mixture.write import Composition, mixture_url, source_folders, write_mixture
from ards_ray.run.directory import RunDirectory

IMAGES = [
    *(None, "", "top.jpg", "coco/train/1.jpg", "/data/1.jpg", "a//b.jpg", "line\nbreak/1.jpg"),
    *("c.parquet#12", "c.parquet#", "c.parquet#1a", "c.parquet#1\n", "c.parquet#1#2", "c.parquet#٣"),
    *("/d/c.parquet#5", "/d/c.parquet#5/x", "s3://b/line\nbreak.parquet#7", "#3"),
]
SOURCES = ["c.parquet", "/d/c.parquet", "s3://b/line\nbreak.parquet", "c.parquet#1", "", "corpus.json"]


def folder(image: str | None, source: str) -> str:
    if image is None:
        return "(no image)"
    if embedded_row(image, source) is not None:
        return posixpath.basename(source)
    return image.split("/")[0] if "/" in image else "(top)"


def column(shown: list[list[str]], chunks: int) -> pa.ChunkedArray:
    return pa.chunked_array([shown[start::chunks] for start in range(chunks)], pa.list_(pa.string()))


@pytest.mark.parametrize("chunks", [1, 4])
def test_folders_are_those_of_each_conversation(chunks: int) -> None:
    """Counted in columns, and each must be what one sees in the path: also where it has signs of patterns in it."""
    pairs = [(image, source) for image in IMAGES for source in SOURCES]
    sources = pa.chunked_array([[source for _, source in pairs[start::chunks]] for start in range(chunks)], pa.string())
    for others in ([], ["other/2.jpg"]):
        images = column([[image, *others] if image is not None else [] for image, _ in pairs], chunks)
        names = [(shown[0] if shown else None) for shown in images.to_pylist()]
        expected = [folder(name, source) for name, source in zip(names, sources.to_pylist(), strict=True)]
        assert source_folders(images, sources).to_pylist() == expected
        assert {"c.parquet", "line\nbreak.parquet", "coco", "(top)"} <= set(expected)


def test_a_table_without_rows() -> None:
    assert source_folders(column([], 1), pa.chunked_array([], pa.string())).to_pylist() == []


def mixture_of(files: list[str], selected: list[int], output: Path) -> tuple[RunDirectory, Composition]:
    run = RunDirectory(str(output))
    settings = Settings(corpus=CorpusSettings(files=tuple(files)), runtime=RuntimeSettings(shard_size=3))
    parts = list(write_conversations(run, settings, "stage"))
    count = sum(part.rows for part in parts)
    assert len(parts) > 1
    chosen = np.isin(np.arange(count), selected)
    return run, write_mixture(run, "methods/like-it", parts, chosen, files, "mixture")


def test_mixture_has_the_form_of_its_corpus(tmp_path: Path) -> None:
    """A drop-in training file: the records as they were, in the corpus's order and form, wherever it is written."""
    records = [conversation(number, note=f"é{number}") for number in range(10)]
    selected = [1, 2, 5, 9]
    array = write(tmp_path / "a.json", json.dumps(records[:4]))
    lines = [
        write(tmp_path / name, "".join(json.dumps(record) + "\n" for record in some))
        for name, some in (("b.jsonl", records[4:]), ("c.jsonl", records[:4]))
    ]
    chosen = [records[row] for row in selected]
    run, counts = mixture_of([array, lines[0]], selected, tmp_path / "mixed")
    assert mixture_url(run, "methods/like-it") == f"{run.url}/methods/like-it/mixture.json"
    assert json.loads(run.read_bytes("methods/like-it/mixture.json")) == chosen
    assert counts == Composition({"image": 10}, {"coco": 10}, {"image": 4}, {"coco": 4})

    run, again = mixture_of([lines[1], lines[0]], selected, tmp_path / "lines")
    assert mixture_url(run, "methods/like-it") == f"{run.url}/methods/like-it/mixture.jsonl"
    assert not run.exists("methods/like-it/mixture.json")
    text = run.read_bytes("methods/like-it/mixture.jsonl").decode()
    assert [json.loads(line) for line in text.splitlines()] == chosen
    assert again == counts
    part = run.part("methods/like-it/mixture.jsonl")
    assert part is not None
    assert part.rows == 4


def test_mixture_of_a_parquet_corpus(tmp_path: Path) -> None:
    """Its rows come from the corpus files with their images, and are counted like the others."""
    images = [{"bytes": b"x%d" % row, "path": None} if row % 2 else None for row in range(10)]
    file = parquet(tmp_path / "c.parquet", {"id": list(range(10)), "image": pa.array(images, IMAGE)})
    run, counts = mixture_of([file], [1, 4, 9], tmp_path / "run")
    assert mixture_url(run, "methods/like-it") == f"{run.url}/methods/like-it/mixture"
    (part,) = run.parts("methods/like-it/mixture")
    assert pq.read_table(io.BytesIO(run.read_bytes(part.path))).equals(pq.read_table(file).take([1, 4, 9]))
    assert counts.corpus_folders == {"(no image)": 5, "c.parquet": 5}
    assert counts.mixture_folders == {"(no image)": 1, "c.parquet": 2}
