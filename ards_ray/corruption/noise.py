"""Diffusion noise on images."""

import numpy as np

from ards_ray.arrays.seeds import generator

STEPS = 1000


def noise_schedule() -> tuple[np.ndarray, np.ndarray]:
    """The factors of signal and noise at each step: (√ᾱ_t, √(1−ᾱ_t)), float32 [1000] each.

    β runs along a sigmoid from 1e-5 to 5e-3, as in the ARDS reference implementation, whose float32 steps are kept.
    """
    ramp = np.linspace(-6, 6, STEPS)
    beta = ((5e-3 - 1e-5) / (1 + np.exp(-ramp)) + 1e-5).astype(np.float32)
    retained = np.cumprod(1 - beta, dtype=np.float64).astype(np.float32)
    return np.sqrt(retained), np.sqrt(1 - retained)


_SIGNAL, _NOISE = noise_schedule()


def add_noise(image: np.ndarray, content: bytes, step: int, seed: int) -> np.ndarray:
    """Diffusion noise on an RGB image at its original size, clipped and rounded back to 8 bits.

    Args:
        image: uint8 [height, width, 3].
        content: The image's file bytes, which seed the noise: all conversations about one image share it.
        step: Step of the schedule, counted from 0.
        seed: The run's seed.
    """
    noise = generator(seed, "noise", content).standard_normal(image.shape, dtype=np.float32)
    noise *= _NOISE[step]
    noise += image.astype(np.float32) * (_SIGNAL[step] / np.float32(255))
    np.clip(noise, 0, 1, out=noise)
    noise *= 255
    return np.rint(noise, out=noise).astype(np.uint8)
