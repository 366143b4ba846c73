"""Files that readers of corpora find, made small."""

from pathlib import Path

import numpy as np
import soundfile as sf


def touch(*paths: Path) -> None:
    """Readers do not decode, so most tests need names only."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_noise(path: Path, rate: int) -> None:
    """A tenth of a second of noise, for readers that look at the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, rate // 10), rate)
