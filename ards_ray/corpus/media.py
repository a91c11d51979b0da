"""Pictures, video and audio that a record holds in a form which is not read: by key, by value or by a tag in the text.

A conversation that shows such a thing is no text conversation. What is read is a path, or an embedded picture, under
`image`, and `<image>` in a question.
"""

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

IMAGE_KEY = "image"

# How missing values are written: by hand, and by pandas.
_NOTHING = ("", "none", "nan", "null")

_STILL = "image|img|picture|pic|photo|screenshot|图片|图像"
_OTHER = "video|audio|media|frame|视频|音频"
_MEDIUM = rf"(?:{_STILL}|{_OTHER})s?"
_PLACE = r"(?:path|url|uri|file|name|src|link|bytes?|data|base64|b64)s?"
_WHICH = "input|output|query|target|main|source|reference|ref|first|second|left|right|local|raw|full|original|encoded"
# A key that names a medium, with words for which one it is and for where it lies. With any other word it says something
# about one: `image_id`, `image_size`, `num_images`, `image_caption`. Case and what stands between words do not count.
_KEY = re.compile(rf"(?:{_WHICH}|{_PLACE}|\d)*{_MEDIUM}(?:{_MEDIUM}|{_PLACE}|list|\d)*")
_KEY_OF_WHERE = re.compile(rf"(?:{_WHICH}|(?P<where>{_PLACE})|(?:{_STILL})s?|list)*")
_TAG_NAME = re.compile(
    rf"(?:start|begin|end|of|soft|\d)*(?:{_MEDIUM}|vision)(?:{_MEDIUM}|placeholder|token|pad|here|context|start|end|\d)*"
)
_BETWEEN = re.compile(r"[\W_]+")

_FILE = re.compile(
    r"data:(?:image|video|audio)/|\S+\.(?:jpe?g|png|gif|webp|bmp|tiff?|mp4|avi|mov|mkv|webm|wav|mp3|flac)(?:\?\S*)?$",
    re.IGNORECASE,
)
_TAG = re.compile(r"<\|?(\w[\w :#-]*)\|?>|</image>")
# In Markdown, what is between backticks is quoted.
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
# HTML has elements of these names, with further elements in them.
_ELEMENTS = ("video", "audio", "picture", "media")


def is_nothing(value: Any) -> bool:
    """Whether a value under a picture's key says that there is none."""
    if isinstance(value, str):
        return value.strip().lower() in _NOTHING
    return value is None or (isinstance(value, float) and math.isnan(value)) or value in ([], {}, b"")


def unread_key(record: Mapping[str, Any], image: str | None) -> str | None:
    """A key, of the record or one of its turns, under which stand pictures that are not read; None if there is none.

    Args:
        record: The record.
        image: Its image, as it is read. Beside one, a key such as `image_url` tells where that comes from.
    """
    for key, value in record.items():
        if key not in (IMAGE_KEY, "conversations") and _shows(key, value, image):
            return key
    turns = record.get("conversations")
    for turn in turns if isinstance(turns, list) else ():
        # Speaker and text are two keys.
        if isinstance(turn, dict) and len(turn) > 2:
            for key, value in turn.items():
                if _is_medium(key, image is not None) and _others(value, image):
                    return f"{key}, in a turn"
    return None


def unread_tag(text: str) -> str | None:
    """A tag in a question, `<image>` taken out, that stands for a picture and is not read; None if there is none.

    What is quoted as code stands for nothing, nor does an element of HTML with further elements in it.
    """
    if "<" not in text:
        return None
    return next((tag[0] for tag in _TAG.finditer(_CODE.sub("", text)) if _stands_for_picture(tag)), None)


def _stands_for_picture(tag: re.Match[str]) -> bool:
    name = tag[1]
    if name is None:
        return True
    if not _TAG_NAME.fullmatch(_joined(name)):
        return False
    end = tag.string.find(f"</{name}>", tag.end())
    return name.lower() not in _ELEMENTS or end < 0 or "<" not in tag.string[tag.end() : end]


def _shows(key: str, value: Any, image: str | None) -> bool:
    if _is_medium(key, image is not None):
        return _others(value, image)
    is_id = re.search(r"(?i:\b|_)id$|Id$", key) is not None
    return image is None and not is_id and any(_FILE.match(text) for text in _texts(value) if isinstance(text, str))


@lru_cache(maxsize=4096)
def _is_medium(key: str, has_image: bool) -> bool:
    name = _joined(key)
    if not _KEY.fullmatch(name):
        return False
    where = _KEY_OF_WHERE.fullmatch(name) if has_image else None
    return where is None or where["where"] is None


def _others(value: Any, image: str | None) -> bool:
    """Whether a value holds any medium but the image."""
    return any(text != image for text in _texts(value))


def _texts(value: Any) -> Iterator[str | bytes]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, (str, bytes)) and not is_nothing(value):
        yield value


def _joined(name: str) -> str:
    return _BETWEEN.sub("", name).lower()
