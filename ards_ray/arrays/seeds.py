"""Random generators that depend on content and seed alone, never on worker or order."""

import hashlib

import numpy as np


def generator(seed: int, purpose: str, content: bytes) -> np.random.Generator:
    """A generator for one purpose and one piece of content."""
    digest = hashlib.sha256(f"{seed}/{purpose}/".encode() + content).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
