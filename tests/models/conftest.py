"""Tiny checkpoints of every text model that a LLaVA may have."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ards_ray.demo.checkpoint import write_checkpoint

# Shorter than any prompt.
WINDOW = 20


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower with more, and much slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="package")
def records() -> list[dict]:
    """Conversations of several lengths, two with images, one of which comes in a later round."""
    long = "It is a small red kite above the sea. " * 6
    talks = [
        ("<image>\nWhat is shown in the picture?", "A small red kite."),
        ("Which one?\nA. red\nB. blue\nAnswer with the option's letter from the given choices directly.", "B"),
        ("Tell me a story.", long, "And then?", "The end."),
        ("Hello", "Hi", "<image>\nWhat about this?", "A boat, I think: 3 of them."),
        ("One word?", "Yes"),
        (long * 2, "No", "Why?", "Because.", "Really?", "Yes."),
    ]
    return [
        {
            "id": str(number),
            **({"image": "a.png"} if any("<image>" in text for text in talk) else {}),
            "conversations": [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(talk)],
        }
        for number, talk in enumerate(talks)
    ]


@pytest.fixture(scope="package")
def checkpoints(records: list[dict], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints by text model; `mistral-window` looks back no further than `WINDOW` positions."""
    folder = tmp_path_factory.mktemp("checkpoints")
    corpus = folder / "corpus.json"
    corpus.write_text(json.dumps(records * 20))
    write_checkpoint(folder / "llama", corpus, text_model="llama")
    for name in ("mistral", "mistral-window"):
        write_checkpoint(folder / name, corpus, text_model="mistral")
    file = folder / "mistral-window" / "config.json"
    config = json.loads(file.read_text())
    config["text_config"]["sliding_window"] = WINDOW
    file.write_text(json.dumps(config))
    return {name: folder / name for name in ("llama", "mistral", "mistral-window")}
