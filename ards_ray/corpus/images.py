"""Images of conversations: found under the image folder, and decoded."""

import errno
import io
import os
import posixpath
import stat
import struct

from PIL import (  # The plugins register the formats that are read here.
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageOps,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)
from pyarrow.fs import FileType

from ards_ray.config import Links
from ards_ray.errors import ConversationError
from ards_ray.storage.location import Location
from ards_ray.storage.retries import is_transient

# Raster formats alone: others run programs on the file or read further files. JPEG opens MPO as well.
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")

_LARGEST_FILE = 1 << 30

# What is wrong with the path or file itself; anything else, too many open files for instance, is the machine's trouble.
_ABSENT = (errno.ENOENT, errno.ENOTDIR)
_UNREADABLE = (
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EIO,
    errno.EINVAL,
    errno.EILSEQ,
)
# Some remote filesystems keep copies on a disk of this machine.
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def read_image(image: str, folder: Location | None, links: Links = "refuse") -> bytes:
    """The bytes of an image file under the image folder.

    Args:
        image: Its path: relative to the folder, or absolute and inside it.
        folder: The image folder.
        links: Whether symbolic links in the folder that lead out of it are followed.

    Raises:
        ConversationError: there is no such file, or it cannot be read; says why.
        OSError: the storage failed; worth another try.
    """
    if folder is None:
        raise ConversationError("image not found", f"{image} (no image folder is given)")
    relative = relative_path(image, folder)
    if folder.is_local:
        return _read_local(image, relative, folder.path, links)
    return _read_remote(image, folder / posixpath.normpath(relative))


def has_image(image: str, folder: Location, links: Links = "refuse") -> bool:
    """Whether `read_image` finds a file; one that may not be looked at counts as missing.

    Raises:
        OSError: the storage failed; worth another try.
    """
    try:
        relative = relative_path(image, folder)
        if folder.is_local:
            return stat.S_ISREG(os.stat(_real_path(image, relative, folder.path, links)).st_mode)
        return bool((folder / posixpath.normpath(relative)).info().is_file)
    except (ConversationError, ValueError):
        return False
    except OSError as error:
        if not _is_the_files(error, folder) and error.errno not in _ABSENT:
            raise
        return False


def decode_image(content: bytes, max_pixels: int, upright: bool = False) -> Image.Image:
    """The RGB image in a file's bytes, in 8 bits a channel; of an animation the first frame.

    Args:
        content: The bytes.
        max_pixels: Largest image.
        upright: Whether it is turned as its EXIF orientation says.

    Raises:
        ConversationError: it is empty, no image, truncated, has more than `max_pixels` pixels, or a grey channel of
            more than 8 bits, which conversion to RGB would cut off instead of scaling it.
    """
    if not content:
        raise ConversationError("image is empty")
    try:
        with _open_header(content) as header:
            width, height = header.size
            if width * height > max_pixels:
                raise ConversationError("image is too large", f"{width} x {height} pixels")
            if header.mode == "F" or header.mode.startswith("I"):
                raise ConversationError("image has more than 8 bits a channel", f"grey in Pillow's mode {header.mode}")
            if upright:
                ImageOps.exif_transpose(header, in_place=True)
            return header.convert("RGB")
    except ConversationError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ConversationError("image is too large", str(error)) from error
    except Exception as error:
        # PIL's plugins raise whatever a malformed file makes them stumble over.
        raise ConversationError("image cannot be decoded", f"{type(error).__name__}: {error}") from error


def _open_header(content: bytes) -> Image.Image:
    """Open an image without reading its pixels.

    As `Image.open` does, but for its check of the size: that one compares with a limit which is global to the process.
    """
    stream = io.BytesIO(content)
    prefix = content[:16]
    for name in _FORMATS:
        factory, accept = Image.OPEN[name]
        try:
            # A string says that the format is known and its library is not built in.
            accepted = accept is None or accept(prefix)
            if accepted and not isinstance(accepted, str):
                stream.seek(0)
                return factory(stream, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    raise UnidentifiedImageError(f"none of {', '.join(_FORMATS)}")


def relative_path(image: str, folder: Location) -> str:
    """An image path relative to the image folder.

    Raises:
        ConversationError: it leaves the folder, as far as its text tells, or no file has such a name.
    """
    if "\0" in image:
        raise ConversationError("image not found", image)
    if posixpath.isabs(image):
        relative = _below(posixpath.normpath(image), folder)
        if relative is None:
            raise ConversationError("image path leaves the image folder", f"{image} (an absolute path outside of it)")
        return relative
    if posixpath.normpath(image).split("/")[0] == "..":
        raise ConversationError("image path leaves the image folder", f"{image} (by '..')")
    return image


def _below(path: str, folder: Location) -> str | None:
    """An absolute path relative to the folder, written as given or with its links resolved; None if it is elsewhere."""
    if folder.is_local:
        for parent in (posixpath.normpath(folder.path), os.path.realpath(folder.path)):
            if path.startswith(posixpath.join(parent, "")):
                return posixpath.relpath(path, parent)
    return None


def _real_path(image: str, relative: str, folder: str, links: Links) -> str:
    """Where a file really lies.

    Raises:
        ConversationError: a symbolic link leads out of the folder.
        OSError: the file or a folder on the way cannot be looked at.
        ValueError: no file has such a name.
    """
    real_folder = os.path.realpath(folder)
    real = os.path.realpath(os.path.join(folder, relative))
    if os.path.commonpath((real_folder, real)) == real_folder:
        return real
    if links == "refuse":
        raise ConversationError(
            "image path leaves the image folder",
            f"{image} (by a symbolic link; if you made it, set corpus.links=follow, or --links follow in evaluate)",
        )
    # Behind a link, `..` is the parent of where the link leads.
    if ".." in relative.split("/"):
        raise ConversationError("image path leaves the image folder", f"{image} (by '..' behind a symbolic link)")
    return real


def _is_the_files(error: OSError, place: Location) -> bool:
    """Whether an error is about one file, which the next try cannot read either, and not about storage or machine."""
    if place.is_local:
        return error.errno in _UNREADABLE
    return not is_transient(error) and error.errno not in _DISK_FULL


def _read_remote(image: str, file: Location) -> bytes:
    try:
        return _content_of(image, file)
    except OSError as error:
        if not _is_the_files(error, file):
            raise
        raise ConversationError("image cannot be read", f"{image} ({error})") from error


def _content_of(image: str, file: Location) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        if file.info().type == FileType.Directory:
            raise ConversationError("image cannot be read", f"{image} (not a file)") from error
        raise ConversationError("image not found", image) from error


def _read_local(image: str, relative: str, folder: str, links: Links) -> bytes:
    try:
        real = _real_path(image, relative, folder, links)
        status = os.stat(real)
        if not stat.S_ISREG(status.st_mode):
            raise ConversationError("image cannot be read", f"{image} (not a file)")
        if status.st_size > _LARGEST_FILE:
            raise ConversationError("image is too large", f"{image} ({status.st_size:,} bytes)")
        with open(real, "rb") as stream:
            return stream.read()
    except ValueError as error:
        # Characters that no file name has.
        raise ConversationError("image not found", image) from error
    except OSError as error:
        if error.errno in _ABSENT:
            raise ConversationError("image not found", image) from error
        if error.errno in _UNREADABLE:
            raise ConversationError("image cannot be read", f"{image} ({error.strerror})") from error
        raise
