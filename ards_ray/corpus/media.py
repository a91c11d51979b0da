"""Pictures, video and audio that a record holds in a form which is not read: by key, by value or by a tag in the text.

A conversation that shows such a thing is no text conversation. What is read is a path, or an embedded picture, under
`image`, and `<image>` in a question.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

IMAGE_KEY = "image"

# How missing values are written: by hand, and by pandas.
_NOTHING = ("", "none", "nan", "null")

_STILL = "image|img|picture|pic|photo|screenshot|图片|图像"
_OTHER = "video|audio|media|frame|视频|音频"
_MEDIUM = rf"(?:{_STILL}|{_OTHER})s?"
_PLACE = r"(?:path|url|uri|file|name|src|link|bytes?|data|base64|b64)s?"
_ORIGIN = "(?:url|uri|name|src|link)s?"
_WHICH = (
    "input|output|query|target|main|source|reference|ref|first|second|third|left|right|local|raw|full|original|encoded|"
    "depth|mask|before|after|edited|rgb|thermal|infrared|next|previous|other|front|rear|negative|positive"
)
_WHICH_BEHIND = "before|after|first|second|third|left|right|depth|mask|edited"
# A key that names a medium, with words for which one it is and for where it lies. With any other word it says something
# about one: `image_id`, `image_size`, `num_images`, `image_caption`. Case and what stands between words do not count.
_KEY = re.compile(
    rf"(?:{_WHICH}|{_PLACE}|\d)*{_MEDIUM}(?:{_MEDIUM}|{_PLACE}|list|\d|{_WHICH_BEHIND})*(?:(?<=image)[a-d]|(?<=img)[a-d])?"
)
# Beside the image these tell where it comes from, or what it was called there.
_KEY_OF_ORIGIN = re.compile(
    rf"(?:{_STILL}|input|main|original|source|local|raw|full|list|(?P<where>{_ORIGIN})|path|file)*"
)
# And these where it lies: the same name, or another picture.
_KEY_OF_FILE = re.compile(rf"(?:{_STILL}|input|main|original|source|local|raw|full|list|(?P<where>(?:path|file)s?))*")
_KEY_OF_SECOND = re.compile(
    rf"(?:{_WHICH}|{_PLACE}|\d)*(?:depth|mask|depthmap|heatmap|segmentation)s?(?:{_PLACE}|list|\d)*"
)
_TAG_NAME = re.compile(
    rf"(?:start|begin|end|of|soft|\d)*(?:{_MEDIUM}|vision)(?:{_MEDIUM}|placeholder|token|pad|here|context|start|end|\d)*"
)
_BETWEEN = re.compile(r"[\W_]+")

_ENDING = (
    r"\.(?:jpe?g|jfif|png|gif|webp|bmp|tiff?|heic|heif|avif|jp2|svg|ppm|pgm|mp4|m4v|avi|mov|mkv|webm|mpe?g|wmv|flv|ogv|"
    r"wav|mp3|m4a|aac|flac|ogg|opus)(?:\?\S*)?$"
)
_LONGEST_NAME = 4096
_DATA = re.compile("data:(?:image|video|audio)/", re.IGNORECASE)
_FILE = re.compile(rf"\S+{_ENDING}", re.IGNORECASE)
# A name with spaces looks like a sentence, but for its key.
_FILE_WITH_SPACES = re.compile(rf"[^\n]+{_ENDING}", re.IGNORECASE)
_KEY_OF_NAMES = re.compile(rf"(?:{_ORIGIN}|paths?|files?|{_MEDIUM}|figure|clip)$")
_ID = re.compile(r"(?i:(?:\b|_)(?:u?u?ids?|guids?))$|Ids?$")
_TAG = re.compile(r"<\|?[ \t]*(\w[\w #-]*+)(?::[^<>\n]*+)?/?\|?>|</image>")
# List<Image>, std::vector<Image>, React.FC<Image>: a type of a program.
_BEFORE_TYPE = re.compile(r"(?:\b[A-Z]\w*|(?:::|\w\.)\w+|\b(?:vector|list|map|set|array|span|unique_ptr|shared_ptr))$")
_TYPE = re.compile("[A-Z][a-z]\\w*")
_NAMED_AS_TAG = re.compile(r"\s+(?:html5?\s+)?(?:tag|element)s?\b", re.IGNORECASE)
# In Markdown, what is between backticks is quoted.
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
# HTML has elements of these names, with further elements in them.
_ELEMENTS = ("video", "audio", "picture", "media")


def is_nothing(value: Any) -> bool:
    """Whether a value under a picture's key says that there is none."""
    if isinstance(value, str):
        return value.strip().lower() in _NOTHING
    return value is None or (isinstance(value, float) and math.isnan(value)) or value in ([], {}, b"")


def unread_key(record: Mapping[str, Any], images: Collection[str]) -> str | None:
    """A key, of the record or one of its turns, under which stand pictures that are not read; None if there is none.

    Args:
        record: The record.
        images: Its images, as they are read. Beside them, a key such as `image_url` tells where they come from, and
            `image_path` where they lie, if they have the same names there.
    """
    own = record.get(IMAGE_KEY)
    # The path of an embedded picture is only a name.
    named = images if isinstance(own, (str, list)) else ()
    for key, value in record.items():
        if key in (IMAGE_KEY, "conversations"):
            continue
        if _shows_another(key, value, images, named) if images else _shows(key, value):
            return key
    turns = record.get("conversations")
    for turn in turns if isinstance(turns, list) else ():
        # Speaker and text are two keys.
        if isinstance(turn, dict) and len(turn) > 2:
            for key, value in turn.items():
                if _is_medium(key) and (_shows_another(key, value, images, named) if images else _shows(key, value)):
                    return f"{key}, in a turn"
    return None


def unread_tag(text: str) -> str | None:
    """A tag in a question, `<image>` taken out, that stands for a picture and is not read; None if there is none.

    What is quoted as code stands for nothing, nor does a type of a program, an element of HTML with further elements in
    it, or one that is spoken of (`the <video> tag`).
    """
    if "<" not in text:
        return None
    return next((tag[0] for tag in _TAG.finditer(_CODE.sub("", text)) if _stands_for_picture(tag)), None)


def _stands_for_picture(tag: re.Match[str]) -> bool:
    if tag[1] is None:
        return True
    name = tag[1].strip()
    if not _TAG_NAME.fullmatch(_joined(name)) or _NAMED_AS_TAG.match(tag.string, tag.end()):
        return False
    if _TYPE.fullmatch(name) and _BEFORE_TYPE.search(tag.string, max(0, tag.start() - 40), tag.start()):
        return False
    end = tag.string.find(f"</{name}>", tag.end())
    return name.lower() not in _ELEMENTS or end < 0 or tag.string.find("<", tag.end(), end) < 0


def _shows(key: str, value: Any) -> bool:
    return any(_is_medium(inner) or _names_file(inner, text) for inner, text in _texts(value, key))


def _shows_another(key: str, value: Any, images: Collection[str], named: Collection[str]) -> bool:
    """Whether a key beside the images shows another picture.

    Args:
        key: The key.
        value: What stands under it.
        images: The images.
        named: The same, where they have the names of files.
    """
    role = _role(key)
    texts = (text for _, text in _texts(value)) if role in ("medium", "second", "file") else iter(())
    if role == "medium":
        return any(text not in images for text in texts)
    files = (str(text) for text in texts if _names_file(key, text))
    if role == "second":
        return any(file not in images for file in files)
    names = {_base(image) for image in named}
    return bool(names) and any(_base(file) not in names for file in files)


@lru_cache(maxsize=4096)
def _role(key: str) -> Literal["medium", "second", "file", "origin", "other"]:
    """What a key beside the image tells.

    A medium of its own, one if its value names a file, the image's file, where the image comes from, or something else.
    """
    name = _joined(key)
    if _KEY_OF_SECOND.fullmatch(name):
        return "second"
    if not _is_medium(key):
        return "other"
    if (origin := _KEY_OF_ORIGIN.fullmatch(name)) and origin["where"]:
        return "origin"
    return "file" if (file := _KEY_OF_FILE.fullmatch(name)) and file["where"] else "medium"


def _names_file(key: str, text: str | bytes) -> bool:
    if not isinstance(text, str) or _ID.search(key) is not None:
        return False
    if _DATA.match(text) or len(text) > _LONGEST_NAME:
        return _DATA.match(text) is not None
    return (_FILE_WITH_SPACES if _KEY_OF_NAMES.search(_joined(key)) else _FILE).match(text) is not None


def _base(path: str) -> str:
    """The name of a file, without folders and ending."""
    return path.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]


@lru_cache(maxsize=4096)
def _is_medium(key: str) -> bool:
    return _KEY.fullmatch(_joined(key)) is not None


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str | bytes]]:
    """The texts in a value that are something, each with its key; what lies under a medium or an id has that one's."""
    left = [(key, value)]
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            is_kept = _is_medium(key) or _ID.search(key) is not None
            left.extend((key if is_kept else inner, one) for inner, one in value.items())
        elif isinstance(value, list):
            left.extend((key, one) for one in value)
        elif isinstance(value, (str, bytes)) and not is_nothing(value):
            yield key, value


def _joined(name: str) -> str:
    return _BETWEEN.sub("", name).lower()
