"""What counts as a picture, video or audio that is not read, and what only looks like one."""

from typing import Any

import pytest

from ards_ray.corpus.media import unread_key, unread_tag

IMAGE = "coco/a.jpg"


@pytest.mark.parametrize(
    "key",
    [
        *("images", "Image", "IMG", "img", "pictures", "photo", "image_1", "image2", "image_list", "input_image"),
        *("image_a", "imageB", "before_image", "image_after", "depth_image", "image_b64", "image_bytes"),
        *("video", "videos", "video_path", "videoURL", "audio", "audio_file", "frames", "media", "图片"),
    ],
)
def test_keys_that_hold_pictures(key: str) -> None:
    """Every trainer has a name of its own for them."""
    for value in ("b.jpg", ["b.jpg"], [{"path": "b.jpg"}], {"bytes": "aGk=", "path": None}, b"x", [[{"url": "u"}]]):
        assert unread_key({key: value}, ()) == key
        assert unread_key({key: value}, (IMAGE,)) == key


@pytest.mark.parametrize(
    "key",
    ["image_path", "image_paths", "imagePath", "image_url", "img_urls", "image_file", "image_filename", "imgname"],
)
def test_keys_that_tell_where_the_picture_lies(key: str) -> None:
    """Beside the image they tell where it comes from; without one they are all there is."""
    assert unread_key({key: "b.jpg"}, ()) == key
    assert unread_key({key: "/data/coco/a.png"}, (IMAGE,)) is None


def test_names_and_addresses_of_the_picture() -> None:
    """An address or an earlier name tells nothing about which picture it is; a path to another file does."""
    for key in ("image_url", "img_link", "image_name", "image_filename", "original_image_url", "input_image_url"):
        assert unread_key({"image": IMAGE, key: "https://example.com/123_abc.jpg"}, (IMAGE,)) is None
    for key in ("image_path", "img_file", "imagePaths", "original_image_path"):
        assert unread_key({"image": IMAGE, key: "coco/b.jpg"}, (IMAGE,)) == key
        assert unread_key({"image": [IMAGE], key: ["a.jpg", "b.jpg"]}, (IMAGE,)) == key
        for value in ("/data/coco/a.png", "/data/coco"):
            assert unread_key({"image": IMAGE, key: value}, (IMAGE,)) is None
        assert unread_key({"image": {"path": "x.jpg"}, key: "b.jpg"}, ("/c.parquet#3",)) is None


@pytest.mark.parametrize("key", ["mask", "masks", "depth", "depth_map", "mask_path", "segmentation"])
def test_pictures_beside_the_image(key: str) -> None:
    """They are shown in training, and would be left out. What is no file may be numbers of one."""
    assert unread_key({key: "m.png"}, ()) == key
    assert unread_key({key: "m.png"}, (IMAGE,)) == key
    for value in ({"size": [4, 4], "counts": "0e1f"}, [[1, 2]], "near", 0.5):
        assert unread_key({key: value}, (IMAGE,)) is None
        assert unread_key({key: value}, ()) is None


@pytest.mark.parametrize(
    "key",
    [
        *("image_id", "img_id", "video_id", "image_size", "image_width", "num_images", "has_image", "image_caption"),
        *("source", "data_source", "model", "id", "question_id", "topic", "width", "global_id", "image_source"),
    ],
)
def test_keys_about_pictures(key: str) -> None:
    """Published sets are full of them: each would be a whole set that fails."""
    assert unread_key({key: "x"}, ()) is None
    assert unread_key({key: "x"}, (IMAGE,)) is None


NOTHING = [
    None,
    "",
    " ",
    "none",
    "None",
    "nan",
    float("nan"),
    [],
    [None],
    ["nan"],
    {},
    {"path": None, "bytes": None},
    0,
]


@pytest.mark.parametrize("value", NOTHING)
def test_values_that_hold_nothing(value: Any) -> None:
    """A table has every column in every row: those of the texts are empty."""
    assert unread_key({"images": value, "video": value}, ()) is None


def test_the_image_again() -> None:
    """Some sets name it twice."""
    assert unread_key({"images": [IMAGE], "Image": IMAGE}, (IMAGE,)) is None
    assert unread_key({"images": [IMAGE, "b.jpg"]}, (IMAGE,)) == "images"


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"file_name": "a.JPG"}, "file_name"),
        ({"figure": ["x/a.png"]}, "figure"),
        ({"meta": {"clip": "a.mp4"}}, "meta"),
        ({"url": "https://example.com/a.jpeg?size=1"}, "url"),
        ({"content": "data:image/png;base64,aGk="}, "content"),
        ({"multi_modal_data": {"image": ["x"]}}, "multi_modal_data"),
        ({"content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "content"),
        ({"file": "a.heic"}, "file"),
        ({"picture_of": "a.jfif", "clip": "a.m4a"}, "picture_of"),
        ({"drawing": "a.svg"}, "drawing"),
        ({"sound": "a.OGG"}, "sound"),
        ({"file": "my photos/a b.jpg"}, "file"),
        ({"ids": ["a.jpg"], "uid": "a.jpg", "uuid": "a.png", "sampleIds": "a.png"}, None),
        ({"meta": {"id": "a.jpg", "type": "image", "model": "x"}}, None),
        ({"id": "train/a.jpg", "image_id": "a.png", "imageId": "a.png"}, None),
        ({"note": "see the file a.jpg", "source": "llava_80k.json"}, None),
    ],
)
def test_values_that_name_a_picture(record: dict[str, Any], found: str | None) -> None:
    """Whatever the key: a text conversation has no picture's file. Beside the image it is where that comes from."""
    assert unread_key(record, ()) == found
    assert unread_key(record, (IMAGE,)) is None


def test_pictures_in_turns() -> None:
    """Chats put them where they were shown."""
    turns: list[dict[str, Any]] = [
        {"from": "human", "value": "What?", "images": ["b.jpg"]},
        {"from": "gpt", "value": "A", "weight": 1},
    ]
    assert unread_key({"conversations": turns}, (IMAGE,)) == "images, in a turn"
    for others in ([{**turns[0], "images": []}, turns[1]], None, 3, [3, "x"]):
        assert unread_key({"conversations": others}, ()) is None


@pytest.mark.parametrize(
    "tag",
    [
        *("<video>", "<audio>", "<Image>", "<IMAGE>", "<img>", "<image_1>", "<image 1>", "<image1>", "<|image|>"),
        *("<|image_1|>", "<image-placeholder>", "<ImageHere>", "<IMG_CONTEXT>", "<start_of_image>", "</image>"),
        *("<|vision_start|>", "<|image_pad|>"),
        *("<image/>", "<image />", "< image >", "<image: a>", "<image:a.png>", "<Image />", "<video: v.mp4>"),
    ],
)
def test_tags(tag: str) -> None:
    """Left in the text they are text to the model."""
    assert unread_tag(f"{tag}\nWhat is it?") == tag
    assert unread_tag(f"这是什么{tag}") == tag


@pytest.mark.parametrize(
    "text",
    [
        '<img src="a.png">',
        '<video controls><source src="a.mp4"></video>',
        "<video>\n  <source src='a.mp4'>\n</video>",
        "What does `<video>` do?",
        "```html\n<video>\n```",
        "a < b, c > d",
        "<b>image</b> <imagination> <head>",
        "std::vector<int>",
        *("List<Image> images", "Optional<Video> v", "React.FC<Image>", "std::vector<Image> v;", "vector<Image> v"),
        *("What does the <video> tag do?", "Is <audio> element new in HTML?", "![x](a.png)", "[image]", "a <b: image>"),
    ],
)
def test_code(text: str) -> None:
    """People ask about HTML and programs, with pieces of them in the question."""
    assert unread_tag(text) is None


@pytest.mark.parametrize("text", ["<image " + " " * 200_000, "<image: " * 50_000, "<" + "a " * 100_000])
def test_long_texts_with_an_open_tag(text: str) -> None:
    """A search that went back over them would take minutes for one text."""
    assert unread_tag(text) is None
