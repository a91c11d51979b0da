"""Source folders: the summary tells what the mixture takes from each source of the corpus."""

import posixpath

import pyarrow as pa
import pytest

from ards_ray.corpus.readers import embedded_row
from ards_ray.mixture.write import source_folders

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


@pytest.mark.parametrize("chunks", [1, 4])
def test_folders_are_those_of_each_conversation(chunks: int) -> None:
    """Counted in columns, and each must be what one sees in the path: also where it has signs of patterns in it."""
    pairs = [(image, source) for image in IMAGES for source in SOURCES]
    images = pa.chunked_array([[image for image, _ in pairs[start::chunks]] for start in range(chunks)], pa.string())
    sources = pa.chunked_array([[source for _, source in pairs[start::chunks]] for start in range(chunks)], pa.string())
    expected = [folder(image, source) for image, source in zip(images.to_pylist(), sources.to_pylist(), strict=True)]
    assert source_folders(images, sources).to_pylist() == expected
    assert {"c.parquet", "line\nbreak.parquet", "coco", "(top)"} <= set(expected)


def test_a_table_without_rows() -> None:
    assert source_folders(pa.chunked_array([], pa.string()), pa.chunked_array([], pa.string())).to_pylist() == []
