"""Checking conversations: whatever cannot be scored fails with a reason that tells what to mend."""

import json
from typing import Any

import pytest

from ards_ray.corpus.conversation import (
    Conversation,
    Round,
    check_single,
    images_of,
    normalise_turn,
    parse_conversation,
    turns_of,
)
from ards_ray.errors import ConversationError, reason_of


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]


def parse(record: Any, *images: str) -> Conversation:
    return parse_conversation(3, "image", images, json.dumps(record))


def reason(record: Any) -> str:
    with pytest.raises(ConversationError) as error:
        parse(record)
    return reason_of(str(error.value))


def test_rounds_of_a_conversation() -> None:
    """The prompt is built from these rounds: the image tag goes in front, all else stays as it is."""
    record = {"image": "a.jpg", "conversations": turns("What is it?\n<image>", " A cat. ", " Colour? ", "Red")}
    expected = (Round("<image>\nWhat is it?", " A cat. "), Round(" Colour? ", "Red"))
    assert parse(record, "a.jpg") == Conversation(3, "image", ("a.jpg",), expected)


def test_text_conversation() -> None:
    """A tenth of LLaVA-665K has no image."""
    nothing: list[dict[str, Any]] = [{}, {"image": None}, {"image": ""}, {"image": []}]
    for more in nothing:
        assert parse({"conversations": turns("Hi", "Hello"), **more}).images == ()


def test_embedded_image_needs_no_path() -> None:
    """A Parquet row's image is known by its place; what the record says about it is only a name."""
    record = {"image": {"path": "x"}, "conversations": turns("<image>\nWhat?", "A cat.")}
    assert parse(record, "/c.parquet#3").images == ("/c.parquet#3",)


def test_image_tag_may_stand_in_a_later_question() -> None:
    """Some conversations show the image after a first question."""
    record = {"image": "a.jpg", "conversations": turns("Hi", "Hello", "This: <image>", "A cat.")}
    assert parse(record).rounds[1].question == "<image>\nThis:"


def test_several_images_are_shown_where_their_tags_stand() -> None:
    """Which picture a question speaks of is told by the place of its tag alone."""
    record = {"image": ["a.jpg", "b.jpg"], "conversations": turns("Is <image> above <image>?", "No")}
    conversation = parse(record, "a.jpg", "b.jpg")
    assert conversation.images == ("a.jpg", "b.jpg")
    assert conversation.rounds == (Round("Is <image> above <image>?", "No"),)
    check_single(("a.jpg",))
    with pytest.raises(ConversationError, match="several images: 2 in one conversation"):
        check_single(conversation.images)


def test_a_leading_answer_is_left_out() -> None:
    """LLaVA's training code does so; ShareGPT conversations begin in the middle."""
    record = {"conversations": [{"from": "gpt", "value": "..."}, *turns("Hi", "Hello")]}
    assert parse(record).rounds == (Round("Hi", "Hello"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain \n", "plain \n"),
        ("<image>", "<image>"),
        ("<image>\nWhat?", "<image>\nWhat?"),
        ("What?<image>", "<image>\nWhat?"),
        (" What <image> is? \n", "<image>\nWhat  is?"),
        ("<image>\n\n\nWhat?", "<image>\nWhat?"),
    ],
)
def test_normalised_turn(text: str, expected: str) -> None:
    """As the reference does it: other text gives other tokens and other losses."""
    assert normalise_turn(text) == expected
    assert normalise_turn(expected) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (1, "not an object"),
        (None, "not an object"),
        ([], "not an object"),
        ({}, "no conversation"),
        ({"conversations": []}, "no conversation"),
        ({"conversations": "text"}, "no conversation"),
        ({"conversations": None}, "no conversation"),
        ({"conversations": ["text"]}, "malformed turn"),
        ({"conversations": [{"from": "human"}]}, "malformed turn"),
        ({"conversations": [{"from": "human", "value": None}]}, "malformed turn"),
        ({"conversations": [{"from": "human", "value": 3}]}, "malformed turn"),
        ({"conversations": [{"value": "x"}]}, "unknown speaker"),
        ({"conversations": [{"from": "system", "value": "x"}]}, "unknown speaker"),
        ({"conversations": [{"from": ["human"], "value": "x"}]}, "unknown speaker"),
        ({"conversations": [{"from": "gpt", "value": "x"}]}, "no human turn"),
        ({"conversations": [*turns("a", "b"), *turns("c", "d", "e")[1:]]}, "turns do not alternate"),
        ({"conversations": turns("a", "b", "c")}, "no answer"),
        ({"conversations": turns("a")}, "no answer"),
        ({"conversations": turns("a", " \n")}, "empty answer"),
        ({"conversations": turns("a", "<image>")}, "image tag in an answer"),
        ({"image": "a.jpg", "conversations": turns("<image><image>", "b")}, "several image tags"),
        ({"image": "a.jpg", "conversations": turns("<image>", "b", "<image>", "d")}, "several image tags"),
        ({"image": "a.jpg", "conversations": turns("what <im<image>age> is", "b")}, "several image tags"),
        ({"image": "a.jpg", "conversations": turns("<vid<image>eo>", "b")}, "picture tag that is not read"),
        ({"conversations": turns("<image>", "b")}, "image tag without an image"),
        ({"image": "a.jpg", "conversations": turns("a", "b")}, "image without an image tag"),
        ({"image": ["a.jpg", "b.jpg"], "conversations": turns("<image>", "b")}, "image without an image tag"),
        ({"image": ["a.jpg", "b.jpg"], "conversations": turns("<image>" * 3, "b")}, "several image tags"),
        ({"image": ["a.jpg", 3], "conversations": turns("<image>" * 2, "b")}, "image is not a path"),
        ({"image": 3, "conversations": turns("<image>", "b")}, "image is not a path"),
        ({"image": {"path": "a"}, "conversations": turns("<image>", "b")}, "image is not a path"),
    ],
)
def test_what_cannot_be_scored_has_a_reason(record: Any, expected: str) -> None:
    """Failures are counted by reason, and that is what a user has to find out what is wrong with a corpus."""
    assert reason(record) == expected


def test_nesting_that_is_too_deep_is_a_failed_conversation() -> None:
    """One hostile record of some kilobytes must not end the job in the middle of scoring."""
    with pytest.raises(ConversationError, match="nested too deeply"):
        parse_conversation(0, "text", (), '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")


def test_images_of_a_record() -> None:
    """A path, or a list of one, as published sets write it."""
    assert images_of({"image": "a.jpg"}) == ("a.jpg",)
    assert images_of({"image": ["a.jpg"]}) == ("a.jpg",)
    assert images_of({"image": ["a.jpg", None, "b.jpg"]}) == ("a.jpg", "b.jpg")
    nothing: list[Any] = [{}, {"image": None}, {"image": []}, {"image": [None]}, {"image": ""}, [], None]
    for record in nothing:
        assert images_of(record) == ()
    with pytest.raises(ConversationError, match="image is not a path: list"):
        images_of({"image": [["a.jpg"]]})


@pytest.mark.parametrize("nothing", [None, "", "None", "none", "nan", "NULL", float("nan"), [], [None], ["none"], [""]])
def test_an_image_that_is_none(nothing: Any) -> None:
    """Cambrian's texts say so in all of these ways; taken for paths, a third of it would be missing pictures."""
    assert images_of({"image": nothing}) == ()
    assert parse({"image": nothing, "conversations": turns("Hi", "Hello")}).images == ()
    if not isinstance(nothing, list):
        assert images_of({"image": [nothing, "a.jpg"]}) == ("a.jpg",)


@pytest.mark.parametrize(
    ("record", "detail"),
    [
        ({"images": ["a.png"], "conversations": turns("<image>\nWhat?", "A")}, "images"),
        ({"images": ["a.png"], "conversations": turns("What?", "A")}, "images"),
        ({"video": "v/1.mp4", "conversations": turns("<video>\nWhat?", "A")}, "video"),
        ({"Image": "a.png", "conversations": turns("<Image>\nWhat?", "A")}, "Image"),
        ({"image": "a.png", "audio": "a.wav", "conversations": turns("<image>\nWhat?", "A")}, "audio"),
        ({"image": "a.png", "images": ["a.png", "b.png"], "conversations": turns("<image>", "A")}, "images"),
        ({"file": "a.png", "conversations": turns("What?", "A")}, "file"),
        (
            {"conversations": [{"from": "human", "value": "What?", "image": "a.png"}, turns("", "A")[1]]},
            "image, in a turn",
        ),
    ],
)
def test_pictures_under_other_keys(record: Any, detail: str) -> None:
    """Scored as a text it would be another conversation than the one that is trained on."""
    with pytest.raises(ConversationError) as error:
        parse(record)
    assert str(error.value) == f"pictures under a key that is not read: {detail}"


@pytest.mark.parametrize("tag", ["<video>", "<Image>", "<img>a.png</img>", "<image_1>", "<|image|>"])
@pytest.mark.parametrize("image", [None, "a.png"])
def test_pictures_by_other_tags(tag: str, image: str | None) -> None:
    """A tag that stays in the text is text to the model. In an answer it is what somebody wrote about HTML."""
    shown = "<image>\n" if image else ""
    record = {"image": image, "conversations": turns(f"{shown}{tag}\nWhat?", "A")}
    with pytest.raises(ConversationError) as error:
        parse(record)
    assert str(error.value) == f"picture tag that is not read: {tag.split('>')[0]}>"
    assert parse({"image": image, "conversations": turns(f"{shown}What?", f"Use {tag}.")}).rounds


def test_turns_of_a_record() -> None:
    """What formats are told by, before a conversation is checked."""
    assert turns_of({"conversations": turns("a", "b")}) == [("human", "a"), ("gpt", "b")]
    assert turns_of({"conversations": [{"from": "gpt", "value": "a"}]}) == []
