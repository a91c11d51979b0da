"""Images of questions: opened from files, Parquet and base64, and named where they cannot be."""

import base64
import io
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ards_ray.errors import ConversationError
from ards_ray.evaluation.images import Base64Image, FileImage, ImageSource, ParquetImage, image_stamps, open_image
from ards_ray.storage.location import locate

MANY = 10**8


def png(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(stream, "PNG")
    return stream.getvalue()


def colour_of(source: ImageSource, folder: Path | None = None) -> tuple[int, ...]:
    # Sources travel to other processes.
    travelled = pickle.loads(pickle.dumps(source))
    image = open_image(travelled, locate(str(folder)) if folder else None, MANY)
    assert (image.mode, image.size) == ("RGB", (4, 3))
    return image.getpixel((0, 0))  # type: ignore[return-value]


def refusal(source: ImageSource, folder: Path | None = None) -> str:
    with pytest.raises(ConversationError) as error:
        open_image(source, locate(str(folder)) if folder else None, MANY)
    return str(error.value)


def test_files(tmp_path: Path) -> None:
    """SEED-Bench's images have no ending; a missing one is named and costs one question."""
    (tmp_path / "a").write_bytes(png("red"))
    assert colour_of(FileImage("a"), tmp_path) == (255, 0, 0)
    assert refusal(FileImage("b/c.png"), tmp_path) == "image not found: b/c.png"
    assert refusal(FileImage("../a"), tmp_path) == "image path leaves the image folder: ../a (by '..')"
    assert refusal(FileImage("a")) == "image not found: a (no image folder is given)"


def test_paths_as_in_a_corpus(tmp_path: Path) -> None:
    """A linked `val2017` and absolute paths are as common in benchmarks; the stamp says when such a picture changed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").write_bytes(png("red"))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "val").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "b").write_bytes(png("lime"))
    folder = locate(str(tmp_path / "images"))
    linked, absolute = FileImage("val/a"), FileImage(str(tmp_path / "images" / "b"))
    assert "--links follow" in refusal(linked, tmp_path / "images")
    assert open_image(linked, folder, MANY, links="follow").getpixel((0, 0)) == (255, 0, 0)
    assert colour_of(absolute, tmp_path / "images") == (0, 255, 0)
    assert image_stamps([linked, absolute], folder).keys() == {linked, absolute}


def test_parquet(tmp_path: Path) -> None:
    """Another row's or column's image would be shown with the question, unnoticed."""
    file = str(tmp_path / "m.parquet")
    colours = ["red", "lime", "blue", None]
    rows = [None if colour is None else {"bytes": png(colour), "path": None} for colour in colours]
    pq.write_table(pa.table({"image_1": rows, "image_2": rows[::-1]}), file, row_group_size=2)
    assert [colour_of(ParquetImage(file, "image_1", row)) for row in range(3)] == [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
    ]
    assert colour_of(ParquetImage(file, "image_2", 3)) == (255, 0, 0)
    assert refusal(ParquetImage(file, "image_1", 3)) == f"image not found: no bytes in column image_1, row 3 of {file}"
    assert refusal(ParquetImage(file, "image_7", 0)) == f"image not found: no bytes in column image_7, row 0 of {file}"
    # As other tools write them again.
    pq.write_table(pa.table({"image_1": [png("red")], "image_2": [{"path": "a.png"}], "image_3": [None]}), file)
    for column in ("image_1", "image_2", "image_3"):
        said = refusal(ParquetImage(file, column, 0))
        assert said == f"image not found: no bytes in column {column}, row 0 of {file}"


def test_base64(tmp_path: Path) -> None:
    """What stands between other bytes would be no image, or another question's."""
    text = base64.b64encode(png("blue"))
    file = tmp_path / "b.tsv"
    file.write_bytes(b"before\t" + text + b"\tbehind")
    assert colour_of(Base64Image(str(file), 7, 7 + len(text))) == (0, 0, 255)
    assert refusal(Base64Image(str(file), 6, 7 + len(text))).startswith("image cannot be decoded: bytes 6 to ")


def test_stamps_of_paths_that_cannot_be(tmp_path: Path) -> None:
    """One such path costs its question, not the job."""
    (tmp_path / "a").write_bytes(png("red"))
    paths = ("a", "b", "c" * 300, "ä" * 200, "/".join(["e" * 200] * 30), "d\0", "../a", "/etc/passwd")
    stamps = image_stamps([FileImage(path) for path in paths], locate(str(tmp_path)))
    assert stamps.keys() == {FileImage("a"), FileImage("b")}
    for path in paths[1:]:
        assert refusal(FileImage(path), tmp_path)
