"""Images: found, decoded as the reference does, and a clear reason for each one that cannot be used."""

import errno
import io
import os
import random
import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from ards_ray.corpus.images import decode_image, has_image, read_image
from ards_ray.errors import ConversationError
from ards_ray.storage import retries
from ards_ray.storage.location import Location, locate

MANY = 100_000_000


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def noise(mode: str, size: tuple[int, int] = (8, 6)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    return Image.fromarray(pixels, "RGBA").convert(mode)


def png_header(width: int, height: int, depth: int = 8, kind: int = 2, pixels: bytes | None = None) -> bytes:
    """A PNG of a size, with these rows of pixels or none."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    content = b"\0\0\1\0IDAT" if pixels is None else chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + content


@pytest.fixture
def folder(tmp_path: Path) -> Location:
    (tmp_path / "images" / "coco").mkdir(parents=True)
    (tmp_path / "images" / "coco" / "a.png").write_bytes(encoded(noise("RGB"), "PNG"))
    return locate(str(tmp_path / "images"))


def refusal(image: str, folder: Location | None) -> str:
    with pytest.raises(ConversationError) as error:
        decode_image(read_image(image, folder), MANY)
    return str(error.value)


def undecodable(content: bytes, max_pixels: int = MANY) -> str:
    with pytest.raises(ConversationError) as error:
        decode_image(content, max_pixels)
    return str(error.value)


# Decoding


@pytest.mark.filterwarnings("ignore:Palette images")
@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGBA", "CMYK", "YCbCr", "RGB"])
def test_every_mode_becomes_rgb_as_pil_converts_it(mode: str) -> None:
    """The reference converts with PIL: other colours would give other vectors."""
    content = encoded(noise(mode), "TIFF" if mode in ("PA", "CMYK", "YCbCr") else "PNG")
    decoded = decode_image(content, MANY)
    assert decoded.mode == "RGB"
    assert decoded.tobytes() == Image.open(io.BytesIO(content)).convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("kind", "format", "mode"),
    [
        (np.uint16, "PNG", "I;16"),
        (np.uint16, "TIFF", "I;16"),
        (">u2", "TIFF", "I;16B"),
        (np.uint16, "PPM", "I"),
        (np.int32, "TIFF", "I"),
        (np.float32, "TIFF", "F"),
        (np.float32, "PPM", "F"),
    ],
)
def test_more_than_8_bits_of_grey(kind: Any, format: str, mode: str) -> None:
    """Pillow cuts such values off at 255: an X-ray or a depth map would be a white picture, here and in training."""
    ramp = np.linspace(0, 1 if kind is np.float32 else 65535, 48).reshape(6, 8).astype(kind)
    assert undecodable(encoded(Image.fromarray(ramp), format)) == (
        f"image has more than 8 bits a channel: grey in Pillow's mode {mode}"
    )


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bits_of_colour(kind: int, channels: int) -> None:
    """Pillow scales these to 8 bits by itself: nothing is lost that a model could see."""
    pixels = np.repeat(np.arange(4) * 20000, channels).astype(">u2").tobytes()
    content = png_header(4, 1, depth=16, kind=kind, pixels=b"\0" + pixels)
    shown = np.asarray(decode_image(content, MANY))
    assert shown[0, :, 0].tolist() == [value * 20000 >> 8 for value in range(4)]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "MPO"])
def test_formats_are_told_by_content(format: str, folder: Location) -> None:
    """Corpora have GIF and PNG files named .jpg (OCR-VQA does): told by name, they would all fail."""
    more = {"save_all": True, "append_images": [noise("RGB")]} if format == "MPO" else {}
    content = encoded(noise("RGB"), format, **more)
    Path(folder.path, "x.jpg").write_bytes(content)
    read = read_image("x.jpg", folder)
    image = decode_image(read, MANY)
    assert read == content
    assert (image.mode, image.size) == ("RGB", (8, 6))
    assert image.tobytes() == Image.open(io.BytesIO(content)).convert("RGB").tobytes()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(format: str) -> None:
    """One conversation, one picture: the first frame, as the reference takes."""
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("white", "black")]
    content = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    assert decode_image(content, MANY).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(format: str, orientation: int) -> None:
    """LLaVA's training ignores it and Qwen's does not: turned otherwise, a picture is not the one of the training."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(noise("RGB"), format, exif=exif)
    as_stored = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.array_equal(decode_image(content, MANY), as_stored)
    turned = {
        1: as_stored,
        2: as_stored[:, ::-1],
        3: as_stored[::-1, ::-1],
        4: as_stored[::-1],
        5: as_stored.transpose(1, 0, 2),
        6: np.rot90(as_stored, -1),
        7: np.rot90(as_stored, 2).transpose(1, 0, 2),
        8: np.rot90(as_stored),
    }
    assert np.array_equal(decode_image(content, MANY, upright=True), turned[orientation])


def test_empty_image() -> None:
    """A failed download is told from a broken file."""
    assert undecodable(b"") == "image is empty"


@pytest.mark.parametrize(
    "content",
    [
        b"<html>404</html>",
        b"P",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"\0",
        encoded(Image.new("RGB", (8, 6)), "ICO"),
    ],
)
def test_what_is_no_known_image(content: bytes) -> None:
    """One web page saved as .jpg must cost one conversation, not the run; and PostScript is never run."""
    assert undecodable(content).startswith("image cannot be decoded: ")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_truncated_and_damaged_images(format: str) -> None:
    """Whatever PIL stumbles over in a damaged file becomes this conversation's failure, never the job's."""
    content = encoded(noise("RGB", (64, 48)), format)
    assert undecodable(content[: len(content) // 2]).startswith("image cannot be decoded: ")
    source = random.Random(0)
    for _ in range(50):
        damaged = bytearray(content)
        for _ in range(5):
            damaged[source.randrange(min(len(damaged), 200))] = source.randrange(256)
        with suppress(ConversationError):
            decode_image(bytes(damaged), MANY)


def test_size_is_checked_before_decoding() -> None:
    """A file of some hundred bytes that claims a terabyte of pixels must not take the machine down."""
    assert undecodable(png_header(100_000, 100_000)) == "image is too large: 100000 x 100000 pixels"
    content = encoded(noise("RGB"), "PNG")
    assert undecodable(content, max_pixels=47).startswith("image is too large: 8 x 6")
    assert decode_image(content, max_pixels=48).size == (8, 6)


def test_limit_is_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """PIL's own limit is less than users may set; other code in their process still relies on it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(encoded(noise("RGB"), "PNG"), MANY).size == (8, 6)
    assert Image.MAX_IMAGE_PIXELS == 10


# Under the image folder


@pytest.fixture
def elsewhere(folder: Location, tmp_path: Path) -> Path:
    """A folder and a picture outside of the image folder, both linked into it."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "secret.png").write_bytes(encoded(noise("RGB"), "PNG"))
    (tmp_path / "images" / "link").symlink_to(place)
    (tmp_path / "images" / "out.png").symlink_to(place / "secret.png")
    return place


@pytest.mark.parametrize("links", ["refuse", "follow"])
def test_paths_that_leave_the_folder(folder: Location, elsewhere: Path, links: Any) -> None:
    """A corpus from the internet must not get to read the user's other files, however it writes their paths."""
    absolute = f"{elsewhere}/secret.png"
    for image, how in (
        ("/etc/passwd", "an absolute path outside of it"),
        (absolute, "an absolute path outside of it"),
        (f"{folder.path}/../elsewhere/secret.png", "an absolute path outside of it"),
        (f"{folder.path}-private/a.png", "an absolute path outside of it"),
        ("../elsewhere/secret.png", "by '..'"),
        ("coco/../../elsewhere/secret.png", "by '..'"),
    ):
        with pytest.raises(ConversationError) as error:
            read_image(image, folder, links)
        assert str(error.value) == f"image path leaves the image folder: {image} ({how})"
        assert not has_image(image, folder, links)


@pytest.mark.parametrize("image", ["link/secret.png", "out.png", "coco/../link/secret.png"])
def test_links_that_leave_the_folder(folder: Location, elsewhere: Path, image: str) -> None:
    """Users link `coco` into their image folder; the error says what to set, and a corpus cannot set it."""
    assert refusal(image, folder) == (
        f"image path leaves the image folder: {image} "
        "(by a symbolic link; if you made it, set corpus.links=follow, or --links follow in evaluate)"
    )
    assert not has_image(image, folder)


def test_links_that_are_followed(folder: Location, elsewhere: Path, tmp_path: Path) -> None:
    """Where the user says so; but a corpus does not get behind a link by `..`."""
    content = (elsewhere / "secret.png").read_bytes()
    (tmp_path / "beside.png").write_bytes(content)
    for image in ("link/secret.png", "out.png", f"{folder.path}/link/secret.png"):
        assert read_image(image, folder, "follow") == content
        assert has_image(image, folder, "follow")
    for image in ("link/../beside.png", "coco/../link/secret.png"):
        with pytest.raises(ConversationError, match=r"by '\.\.' behind a symbolic link"):
            read_image(image, folder, "follow")
        assert not has_image(image, folder, "follow")


def test_absolute_paths_within_the_folder(folder: Location, tmp_path: Path) -> None:
    """Corpora that a script wrote have them; the folder may be given by a link or with one resolved."""
    (tmp_path / "other").symlink_to("images")
    content = Path(folder.path, "coco", "a.png").read_bytes()
    linked = locate(str(tmp_path / "other"))
    for image, place in (
        (f"{folder.path}/coco/a.png", folder),
        (f"{folder.path}//coco/./a.png", folder),
        (f"{folder.path}/coco/a.png", linked),
        (f"{linked.path}/coco/a.png", linked),
        (f"{folder.path}/coco/a.png", locate(f"file://{folder.path}/")),
        (f"{folder.path}/coco/a.png", locate("/")),
    ):
        assert read_image(image, place) == content
        assert has_image(image, place)
    assert refusal(f"{folder.path}/gone.png", folder) == f"image not found: {folder.path}/gone.png"


def test_a_sibling_folder_with_the_same_beginning_is_outside(folder: Location, tmp_path: Path) -> None:
    """`images-private` begins like `images`."""
    (tmp_path / "images-private").mkdir()
    (tmp_path / "images-private" / "a.png").write_bytes(b"x")
    assert "leaves" in refusal("../images-private/a.png", folder)


def test_paths_and_links_within_the_folder(folder: Location, tmp_path: Path) -> None:
    """Folders are often put together from links; the image folder itself may be one."""
    (tmp_path / "images" / "gqa").symlink_to("coco")
    (tmp_path / "other").symlink_to("images")
    for image in ("coco/a.png", "gqa/a.png", "coco/../coco/a.png", "./coco//a.png"):
        assert decode_image(read_image(image, folder), MANY).size == (8, 6)
    assert decode_image(read_image("gqa/a.png", locate(str(tmp_path / "other"))), MANY).size == (8, 6)


@pytest.mark.parametrize(
    "image", ["gone.png", "coco/a.png/b.png", "gone/a.png", "dangling.png", "nul\0.png", "\udc00.png"]
)
def test_missing_image(folder: Location, image: str) -> None:
    """The most common failure; its exact name is what users count and look for."""
    Path(folder.path, "dangling.png").symlink_to("gone")
    assert refusal(image, folder) == f"image not found: {image}"


def test_files_that_are_no_images(folder: Location) -> None:
    """A FIFO would hang the worker for ever; a loop of links has its reason too."""
    os.mkfifo(Path(folder.path, "fifo.png"))
    Path(folder.path, "loop.png").symlink_to("loop.png")
    Path(folder.path, "empty.png").write_bytes(b"")
    assert refusal("coco", folder) == "image cannot be read: coco (not a file)"
    assert refusal("fifo.png", folder) == "image cannot be read: fifo.png (not a file)"
    assert refusal("loop.png", folder).startswith("image cannot be read: loop.png (")
    assert refusal("x" * 300 + ".png", folder).startswith("image cannot be read: xxx")
    assert refusal("empty.png", folder) == "image is empty"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(folder: Location) -> None:
    """Wrong permissions are the user's to mend, and the reason must say so."""
    Path(folder.path, "coco", "a.png").chmod(0)
    assert refusal("coco/a.png", folder) == "image cannot be read: coco/a.png (Permission denied)"


def test_a_file_that_the_disk_cannot_read() -> None:
    """One bad block under one picture would end the job at every start."""
    # Files whose pages nobody has: the kernel answers as it does for a bad block, and for a call without sense.
    assert refusal("mem", locate("/proc/self")) == "image cannot be read: mem (Input/output error)"
    assert refusal("clear_refs", locate("/proc/self")).startswith("image cannot be read: clear_refs (")


def test_no_folder() -> None:
    """A forgotten `--images` is named, not reported as so many missing files."""
    assert refusal("a.png", None) == "image not found: a.png (no image folder is given)"


def test_images_in_an_object_store() -> None:
    """The same checks hold for URLs."""
    store = fsspec.filesystem("memory")
    content = encoded(noise("RGB"), "PNG")
    store.pipe({"/set/images/coco/a.png": content, "/set/secret.png": content})
    folder = locate("memory://set/images")
    assert read_image("coco/a.png", folder) == content
    assert read_image("x/../coco/a.png", folder) == content
    assert refusal("coco/b.png", folder) == "image not found: coco/b.png"
    assert refusal("coco", folder) == "image cannot be read: coco (not a file)"
    for image, how in (
        ("../secret.png", "by '..'"),
        ("/set/images/coco/a.png", "an absolute path outside of it"),
        ("coco/../../secret.png", "by '..'"),
    ):
        assert refusal(image, folder) == f"image path leaves the image folder: {image} ({how})"


class Failing(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A store whose network is down."""

    protocol = "failing"

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        raise TimeoutError("the network is down")

    def _open(self, path: str, *args: Any, **options: Any) -> Any:
        raise TimeoutError("the network is down")


def test_a_failing_store_is_no_failed_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour without network must not be recorded as a million missing images."""
    fsspec.register_implementation("failing", Failing, clobber=True)
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.001)
    with pytest.raises(OSError, match="network is down"):
        read_image("a.png", locate("failing://images"))


class Guarded(MemoryFileSystem):  # type: ignore[misc]
    """A store that refuses some of its files, in the words that S3, Google or a disk have for it."""

    protocol = "guarded"
    errors: ClassVar[dict[str, OSError]] = {
        "denied.png": PermissionError(errno.EACCES, "Access Denied"),
        "s3.png": OSError("AWS Error ACCESS_DENIED during HeadObject operation: No response body."),
        "status.png": OSError("AWS Error UNKNOWN (HTTP status 400) during HeadObject operation"),
        "google.png": OSError("google::cloud::Status(PERMISSION_DENIED: caller does not have access)"),
        "full.png": OSError(errno.ENOSPC, "No space left on device"),
    }

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        self._refuse(path)
        return super().info(path, **options)

    def _open(self, path: str, *args: Any, **options: Any) -> Any:
        self._refuse(path)
        return super()._open(path, *args, **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.removeprefix("guarded://")))

    def _refuse(self, path: str) -> None:
        error = self.errors.get(path.rpartition("/")[2])
        if error is not None:
            raise error


@pytest.fixture
def guarded() -> Location:
    fsspec.register_implementation("guarded", Guarded, clobber=True)
    # Both keep their files in one place.
    content = encoded(noise("RGB"), "PNG")
    fsspec.filesystem("memory").pipe({f"/guarded/{name}": content for name in (*Guarded.errors, "a.png")})
    return locate("guarded://guarded")


@pytest.mark.parametrize("image", ["denied.png", "s3.png", "status.png", "google.png"])
def test_a_picture_that_a_store_refuses(guarded: Location, image: str) -> None:
    """One object with other rights, or missing where S3 may not say so, would end the job at every start."""
    assert refusal(image, guarded) == f"image cannot be read: {image} ({Guarded.errors[image]})"
    assert not has_image(image, guarded)


def test_a_full_disk_is_no_failed_conversation(guarded: Location) -> None:
    """Where a store keeps copies on the machine's disk, a full one would be recorded as so many bad pictures."""
    with pytest.raises(OSError, match="No space left"):
        read_image("full.png", guarded)


def test_which_images_are_there(guarded: Location, folder: Location, tmp_path: Path) -> None:
    """The job looks for some pictures before it begins; a name that no file can have would end it there."""
    (tmp_path / "secret.png").write_bytes(b"x")
    assert has_image("coco/a.png", folder)
    assert has_image("a.png", guarded)
    for image in ("coco/b.png", "coco", "../secret.png", "x" * 300, "nul\0.png"):
        assert not has_image(image, folder)
    assert not has_image("b.png", guarded)
