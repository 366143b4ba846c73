"""Hint for an installation whose CPU kernels were not compiled, or are older than their sources.

pip hides what the package's build said about them.
"""

import os
import warnings
from contextlib import suppress

import torch
from fastser_kernels.native.library import ENVIRONMENT, STALE, native

from fastser.runtime.files import cache_dir


def kernel_hint(device: torch.device, use_reference: bool) -> list[str]:
    """Return one sentence if there are no compiled kernels to use.

    Kernels that are older than their sources are mentioned always, missing ones at the first command that uses this
    cache folder.

    Args:
        device: Device of the models.
        use_reference: Whether the reference computes anyway.

    Raises:
        NativeError: If the environment variable FASTSER_NATIVE names a variant that cannot be loaded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the sentence takes the place of Python's warning
        state = native()
    wished = use_reference or os.environ.get(ENVIRONMENT) == "off"
    if state.library is not None or device.type != "cpu" or wished:
        return []
    if state.reason != STALE:
        seen = cache_dir() / "hint-no-compiled-kernels"
        if seen.exists():
            return []
        with suppress(OSError):  # in a cache that cannot be written the hint is repeated
            seen.touch()
    return [f"warning: plain PyTorch computes, more slowly than compiled kernels would: {state.reason}"]
