"""Checks of arguments, whose error messages name the argument."""

from collections.abc import Sequence
from operator import add

import torch
from torch import Tensor

MIN_POWER, MAX_POWER = 1e-37, 1e37
"""Limits of a power in float32: a smaller one becomes 0, a larger one infinite."""


def check_positive(**values: int) -> None:
    """Raise TypeError unless every value is a whole number, and ValueError unless every value is at least 1."""
    for name, value in values.items():
        if not torch.compiler.is_compiling() and not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_power_floor(power_floor: float) -> None:
    """Raise ValueError unless float32 holds the power as a finite number above 0."""
    if not MIN_POWER <= power_floor <= MAX_POWER:
        raise ValueError(f"power_floor must be from {MIN_POWER:g} to {MAX_POWER:g}, got {power_floor}")


def check_shape(name: str, tensor: Tensor, shape: Sequence[int | str], of: Tensor | None = None) -> None:
    """Raise ValueError unless `tensor` has this shape; a letter stands for any size.

    The message names the shape of the argument `x` if it is given as `of`, because `x` may be the wrong one of the two.
    """
    own = tensor.shape
    if own == tuple(shape):
        return
    if len(own) != len(shape) or any(a != b and not isinstance(b, str) for a, b in zip(own, shape, strict=True)):
        cause = "" if of is None else f"; x is {list(of.shape)}"
        raise ValueError(f"{name} must be [{', '.join(map(str, shape))}], got {list(own)}{cause}")


def check_number(name: str, tensors: Sequence[Tensor], number: int, of: str) -> None:
    """Raise ValueError unless there are `number` tensors, which is the length of the list called `of`."""
    if len(tensors) != number:
        expected = "one tensor" if number == 1 else f"{number} tensors"
        raise ValueError(f"{name} must hold {expected}, as many as {of}, got {len(tensors)}")


def check_floating(name: str, tensor: Tensor) -> None:
    """Raise TypeError unless `tensor` holds real floating-point numbers."""
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {_name(tensor.dtype)}")


def check_dtype(name: str, tensor: Tensor, allowed: Sequence[torch.dtype], of: Tensor | None = None) -> None:
    """Raise TypeError unless `tensor` has one of these dtypes.

    The message names the dtype of the argument `x` if it is given as `of`.
    """
    if tensor.dtype not in allowed:
        cause = "" if of is None else f"; x is {_name(of.dtype)}"
        raise TypeError(f"{name} must be {' or '.join(map(_name, allowed))}, got {_name(tensor.dtype)}{cause}")


def check_device(name: str, tensor: Tensor, x: Tensor, of: str = "x") -> None:
    """Raise ValueError unless `tensor` is on the device of `x`, the argument called `of`."""
    if tensor.device != x.device:
        raise ValueError(f"{name} must be on {x.device} as {of}, got {tensor.device}")


def check_parameter(name: str, tensor: Tensor, x: Tensor, shape: Sequence[int | str]) -> None:
    """Raise ValueError or TypeError unless a parameter fits the features or maps `x`.

    Its dtype must be that of `x` or, for float16 and bfloat16 `x`, float32.
    """
    if tensor.shape == shape and tensor.dtype == x.dtype and tensor.device == x.device:
        return  # the checks below take a microsecond, and models have many parameters
    check_shape(name, tensor, shape, of=x)
    check_dtype(name, tensor, [x.dtype, torch.float32] if x.itemsize == 2 else [x.dtype], of=x)
    check_device(name, tensor, x)


def check_values_per_channel(x: Tensor) -> None:
    """Raise ValueError unless each channel of the maps `x` `[N, C, T, F]` has at least two values, hence a variance."""
    if x.shape[0] * x.shape[2] * x.shape[3] < 2:
        raise ValueError(f"x must hold more than 1 value per channel when training, got {list(x.shape)}")


def known_at_once(indices: Tensor) -> bool:
    """Return whether values can be read without waiting for a device, outside a trace of torch.compile."""
    return indices.device.type == "cpu" and not torch.compiler.is_compiling()


def check_inside(
    name: str, start: Tensor, num_frames: Tensor, extent: Tensor, source: str, available: int, unit: str = "frames"
) -> None:
    """Raise IndexError unless all windows lie inside their source; call it for indices that are `known_at_once`.

    Args:
        name: Name of the argument `start`.
        start: First unit of each window, int64 `[B]`.
        num_frames: Number of frames of each window, which must not be negative, int64 `[B]`.
        extent: Number of units that these frames cover, int64 `[B]`.
        source: Name of the source that the windows are cut from.
        available: Number of units in the source.
        unit: Name of the unit that `start`, `extent` and `available` count.
    """
    # Python numbers do not overflow. For one batch they take half the time of a few tensor operations.
    starts, counts, extents = start.tolist(), num_frames.tolist(), extent.tolist()
    if not starts or (min(starts) >= 0 <= min(counts) and max(map(add, starts, extents)) <= available):
        return
    for i, (first, count, covered) in enumerate(zip(starts, counts, extents, strict=True)):
        if first < 0 or count < 0 or first + covered > available:
            raise IndexError(f"{name}[{i}] = {first} with {count} frames leaves the {source} of {available} {unit}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
