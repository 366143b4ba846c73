"""Providers that torch.compile makes of an eager function."""

import shutil
from collections.abc import Callable
from typing import Any

import torch
import torch._functorch.config
import torch._inductor.config

COMPILED = ("compile", "compile-max-autotune")

torch._functorch.config.donated_buffer = False  # a backward pass that is timed alone runs more than once


def compiled(
    eager: Callable[..., Any], provider: Callable[[Callable[..., Any]], Any], device: torch.device
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the compiled forms of an eager function as providers.

    Args:
        eager: Eager function.
        provider: Makes a provider of a function.
        device: Device on which the providers run.

    Returns:
        Providers by name, and the reason by name for those that this device cannot have.
    """
    if device.type == "cuda":
        modes = {"compile": "default", "compile-max-autotune": "max-autotune-no-cudagraphs"}
        return {name: provider(torch.compile(eager, dynamic=False, mode=mode)) for name, mode in modes.items()}, {}
    missing = {"compile-max-autotune": "tunes GPU kernels only"}
    if shutil.which("g++") is None:
        return {}, missing | {"compile": "needs a C++ compiler (g++) on a CPU"}
    return {"compile": provider(torch.compile(eager, dynamic=False))}, missing
