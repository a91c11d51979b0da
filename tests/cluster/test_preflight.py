"""Whether a process sees the images that the job saw when it began."""

from pathlib import Path

import pytest

from ards_ray.cluster.preflight import check_images_here
from ards_ray.config import CorpusSettings, Settings
from ards_ray.errors import ArdsError


def settings_of(images: Path | None) -> Settings:
    return Settings(corpus=CorpusSettings(images=None if images is None else str(images)))


def test_images_are_looked_for_until_they_were_seen(local_ray: None, tmp_path: Path) -> None:
    """Its folder may be mounted a moment later; and millions of shards must not look for the same files again."""
    images = tmp_path / "images"
    settings = settings_of(images)
    with pytest.raises(ArdsError, match=f"node .*: the image folder {images} is missing, which was there when"):
        check_images_here(settings, ["a.png"])
    images.mkdir()
    with pytest.raises(ArdsError, match=f"the image folder {images} lacks a.png"):
        check_images_here(settings, ["a.png"])
    (images / "a.png").write_bytes(b"x")
    check_images_here(settings, ["a.png"])
    (images / "a.png").unlink()
    check_images_here(settings, ["a.png"])
    with pytest.raises(ArdsError, match=r"lacks b\.png"):
        check_images_here(settings, ["b.png"])


def test_a_corpus_without_images_needs_no_folder() -> None:
    """A corpus of texts, or with its images embedded, would be refused."""
    check_images_here(settings_of(None), [])
