"""Sentences for wrong arguments, each of which names the argument."""

from collections.abc import Sequence

import torch
from torch import Tensor


def check_shape(name: str, tensor: Tensor, shape: Sequence[int]) -> None:
    """Raise ValueError unless `tensor` has exactly this shape."""
    if tensor.shape != torch.Size(shape):
        raise ValueError(f"{name} must be {list(shape)}, got {list(tensor.shape)}")


def check_floating(name: str, tensor: Tensor) -> None:
    """Raise TypeError unless `tensor` holds real floating-point numbers."""
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {tensor.dtype}")


def check_dtype(name: str, tensor: Tensor, allowed: Sequence[torch.dtype]) -> None:
    """Raise TypeError unless `tensor` has one of these dtypes."""
    if tensor.dtype not in allowed:
        names = " or ".join(dict.fromkeys(str(dtype).removeprefix("torch.") for dtype in allowed))
        raise TypeError(f"{name} must be {names}, got {str(tensor.dtype).removeprefix('torch.')}")


def check_device(name: str, tensor: Tensor, x: Tensor, of: str = "x") -> None:
    """Raise ValueError unless `tensor` lies where `x`, the argument called `of`, does."""
    if tensor.device != x.device:
        raise ValueError(f"{name} must be on {x.device} as {of}, got {tensor.device}")
