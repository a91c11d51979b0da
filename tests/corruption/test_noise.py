"""Diffusion noise: the reference's schedule, on images that stay images."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ards_ray.corruption.noise import add_noise, noise_schedule


def grey(value: int, side: int = 200) -> np.ndarray:
    return np.full((side, side, 3), value, dtype=np.uint8)


def test_the_schedule_is_the_references(conformance: Path) -> None:
    """Weaker or stronger noise gives other loss gaps, and so other subgroups than the published method's."""
    expected = json.loads((conformance / "noise_schedule.json").read_text())
    signal, noise = noise_schedule()
    assert len(signal) == len(noise) == 1000
    np.testing.assert_allclose(signal[expected["step"]], expected["signal"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(noise[expected["step"]], expected["noise"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("step", [0, 100, 200])
def test_signal_and_noise_are_mixed_by_the_schedule(step: int, conformance: Path) -> None:
    """x·√ᾱ + ε·√(1−ᾱ), counted from step 0 and rounded: cutting decimals off would darken every image."""
    schedule = json.loads((conformance / "noise_schedule.json").read_text())
    place = schedule["step"].index(step)
    signal, noise = schedule["signal"][place], schedule["noise"][place]
    noised = add_noise(grey(128, 300), b"image", step, 42).astype(np.float64)
    # Grey is far enough from black and white that nothing is clipped.
    assert abs(noised.mean() - 128 * signal) < 0.2
    # Rounding adds a twelfth to the variance.
    assert abs(noised.var() - (255 * noise) ** 2 - 1 / 12) < 0.02 * (255 * noise) ** 2 + 0.02


def test_bright_and_dark_are_clipped() -> None:
    """Values that wrap around, as the reference's do, put white dots on black: an attack that no camera makes."""
    dark = add_noise(grey(0), b"image", 300, 42)
    assert abs((dark == 0).mean() - 0.5) < 0.02
    # Half a grey level, and five times the deviation of 0.194.
    assert dark.max() < 250
    bright = add_noise(grey(255), b"image", 300, 42)
    # The signal, 0.981, lies a tenth of the deviation below white.
    assert abs((bright == 255).mean() - 0.46) < 0.02
    assert bright.min() > 5


def test_noise_goes_on_without_regard_to_the_picture() -> None:
    """Noise that depended on the picture's content would be another attack."""
    difference = add_noise(grey(140), b"image", 100, 42).astype(int) - add_noise(grey(100), b"image", 100, 42)
    # The same ε: both differ by 40·√ᾱ, rounded.
    assert set(np.unique(difference)) <= {39, 40, 41}


def test_channels_and_pixels_have_noise_of_their_own() -> None:
    """Grey noise, or stripes, would be easier for the model."""
    noised = add_noise(grey(128), b"image", 200, 42).astype(float)
    flat = noised.reshape(-1, 3)
    correlation = np.corrcoef(flat.T)
    assert np.abs(correlation - np.eye(3)).max() < 0.03
    assert abs(np.corrcoef(noised[:, :-1].ravel(), noised[:, 1:].ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(noised[:-1].ravel(), noised[1:].ravel())[0, 1]) < 0.03


@settings(max_examples=30)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)), st.binary(max_size=20), st.integers(0, 999), st.integers(0, 99)
)
def test_content_and_seed_alone_decide(size: tuple[int, int], content: bytes, step: int, seed: int) -> None:
    """All conversations about an image must share its noised version, on every worker and after every restart."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    before = image.copy()
    noised = add_noise(image, content, step, seed)
    assert noised.shape == image.shape
    assert noised.dtype == np.uint8
    assert (noised == add_noise(image, content, step, seed)).all()
    assert (image == before).all()


def test_other_bytes_or_another_seed_give_other_noise() -> None:
    """One noise pattern for the whole corpus would be learned; a seed that does nothing cannot be varied."""
    noised = add_noise(grey(128), b"image", 300, 42)
    for other in (add_noise(grey(128), b"other", 300, 42), add_noise(grey(128), b"image", 300, 43)):
        assert abs(np.corrcoef(noised.ravel(), other.ravel())[0, 1]) < 0.02
