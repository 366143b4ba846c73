"""Sentences for wrong arguments, each of which names the argument."""

from collections.abc import Sequence
from operator import add

import torch
from torch import Tensor


def check_positive(**sizes: int) -> None:
    """Raise ValueError unless every size is at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def check_shape(name: str, tensor: Tensor, shape: Sequence[int | str]) -> None:
    """Raise ValueError unless `tensor` has this shape; a letter stands for any size."""
    own = tensor.shape
    if own == tuple(shape):
        return
    if len(own) != len(shape) or any(a != b and not isinstance(b, str) for a, b in zip(own, shape, strict=True)):
        raise ValueError(f"{name} must be [{', '.join(map(str, shape))}], got {list(own)}")


def check_number(name: str, tensors: Sequence[Tensor], number: int, of: str) -> None:
    """Raise ValueError unless there are as many tensors as in the list called `of`."""
    if len(tensors) != number:
        raise ValueError(f"{name} must hold {number} tensors as {of} does, got {len(tensors)}")


def check_floating(name: str, tensor: Tensor) -> None:
    """Raise TypeError unless `tensor` holds real floating-point numbers."""
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {_name(tensor.dtype)}")


def check_dtype(name: str, tensor: Tensor, allowed: Sequence[torch.dtype]) -> None:
    """Raise TypeError unless `tensor` has one of these dtypes."""
    if tensor.dtype not in allowed:
        raise TypeError(f"{name} must be {' or '.join(map(_name, allowed))}, got {_name(tensor.dtype)}")


def check_device(name: str, tensor: Tensor, x: Tensor, of: str = "x") -> None:
    """Raise ValueError unless `tensor` lies where `x`, the argument called `of`, does."""
    if tensor.device != x.device:
        raise ValueError(f"{name} must be on {x.device} as {of}, got {tensor.device}")


def check_parameter(name: str, tensor: Tensor, x: Tensor, shape: Sequence[int | str]) -> None:
    """Raise unless a parameter fits the features or maps `x`.

    Its dtype must be that of `x` or, where `x` is float16 or bfloat16, float32.
    """
    if tensor.shape == shape and tensor.dtype == x.dtype and tensor.device == x.device:
        return  # what follows takes a microsecond, and models have many parameters
    check_shape(name, tensor, shape)
    check_dtype(name, tensor, [x.dtype, torch.float32] if x.itemsize == 2 else [x.dtype])
    check_device(name, tensor, x)


def check_values_per_channel(x: Tensor) -> None:
    """Raise ValueError unless the channels of the maps `x` `[N, C, T, F]` have a variance."""
    if x.shape[0] * x.shape[2] * x.shape[3] < 2:
        raise ValueError(f"x must hold more than 1 value per channel when training, got {list(x.shape)}")


def known_at_once(indices: Tensor) -> bool:
    """Whether values can be looked at without waiting for a device, and torch.compile is not tracing."""
    return indices.device.type == "cpu" and not torch.compiler.is_compiling()


def check_inside(
    name: str, start: Tensor, frames: Tensor, length: Tensor, source: str, size: int, unit: str = "frames"
) -> None:
    """Raise IndexError unless all windows lie inside their source; to be asked where indices are `known_at_once`.

    Args:
        name: Of `start`.
        start: First unit of each window, int64 `[B]`.
        frames: Its number of frames, which must not be negative, int64 `[B]`.
        length: Units that these frames take, int64 `[B]`.
        source: What the windows are cut from.
        size: Its length.
        unit: What `start`, `length` and `size` count.
    """
    # As numbers, which do not overflow. Of a batch that takes half the time of a few tensor operations.
    windows = start.tolist(), frames.tolist(), length.tolist()
    if not windows[0] or (min(windows[0]) >= 0 <= min(windows[1]) and max(map(add, windows[0], windows[2])) <= size):
        return
    for i, (first, count, used) in enumerate(zip(*windows, strict=True)):
        if first < 0 or count < 0 or first + used > size:
            raise IndexError(f"{name}[{i}] = {first} with {count} frames leaves the {source} of {size} {unit}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
