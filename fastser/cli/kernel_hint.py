"""Hint for an installation whose CPU kernels were not compiled: pip hides what the package's build said about them."""

import os
from contextlib import suppress

import torch
from fastser_kernels.native.library import ENVIRONMENT, native

from fastser.runtime.files import cache_dir


def kernel_hint(device: torch.device, use_reference: bool) -> list[str]:
    """Return one sentence if compiled kernels are missing, at the first command that uses this cache folder.

    Args:
        device: Device of the models.
        use_reference: Whether the reference computes anyway.

    Raises:
        NativeError: If the environment variable FASTSER_NATIVE names a variant that cannot be loaded.
    """
    state = native()
    wished = use_reference or os.environ.get(ENVIRONMENT) == "off"
    if state.library is not None or device.type != "cpu" or wished:
        return []
    seen = cache_dir() / "hint-no-compiled-kernels"
    if seen.exists():
        return []
    with suppress(OSError):  # in a cache that cannot be written the hint is repeated
        seen.touch()
    return [f"warning: plain PyTorch computes, more slowly than compiled kernels would: {state.reason}"]
