"""Random generators by name, so that no recording depends on the order of generation."""

import hashlib

import numpy as np


def named_generator(seed: int, *names: str) -> np.random.Generator:
    """Return the generator of `names` ("iemocap", "Ses01F") under `seed`; it is the same in every process."""
    key = hashlib.sha256("/".join((str(seed), *names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(key[:16]))
