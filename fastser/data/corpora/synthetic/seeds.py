"""One random generator per named thing, so that no recording depends on the order in which others are made."""

import hashlib

import numpy as np


def named_generator(seed: int, *names: str) -> np.random.Generator:
    """Return the generator that belongs to `names` ("iemocap", "Ses01F") under `seed`, the same in every process."""
    key = hashlib.sha256("/".join((str(seed), *names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(key[:16]))
