"""Types of changes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Waveform, float32 [samples], full scale 1.0."""

Change = Callable[[Samples, int, np.random.Generator], Samples]
"""Maps samples, their sample rate in hertz and a generator to changed samples, of any length."""
