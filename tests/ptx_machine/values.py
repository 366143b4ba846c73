"""Values of registers: unsigned integers of 8 to 64 bits and booleans, seen as the type that an instruction names."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
"""Bits of one register. Axes: blocks, threads of a block. An axis has length 1 where all its values are equal."""

UNSIGNED: dict[int, type[np.generic]] = {1: np.bool_, 8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
SIGNED: dict[int, type[np.generic]] = {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64}
_OTHER_BITS = {"pred": 1, "f16x2": 32, "bf16": 16, "bf16x2": 32, "tf32": 32}


def bits(kind: str) -> int:
    """Return the bits of a type such as "s32", "bf16x2" or "pred".

    Raises:
        NotImplementedError: If there is no such type.
    """
    if kind in _OTHER_BITS:
        return _OTHER_BITS[kind]
    if kind[:1] in ("b", "u", "s", "f") and kind[1:] in ("8", "16", "32", "64"):
        return int(kind[1:])
    raise NotImplementedError(f"type {kind}")


def constant(text: str, width: int) -> Array:
    """Return an immediate operand, such as `-1`, `0x7701U` or `0f3F800000`, as bits of this width."""
    floating = text[:2] in ("0f", "0F", "0d", "0D")
    number = int(text[2:], 16) if floating else int(text.rstrip("Uu"), 0)
    return np.array([[number & ((1 << width) - 1)]]).astype(np.uint64).astype(UNSIGNED[width])


def resized(value: Array, width: int) -> Array:
    """Return the low bits of a value, or the value with leading zeros."""
    return value.astype(UNSIGNED[width], copy=False)


def as_integer(value: Array, kind: str) -> Array:
    """Return the low bits of a register as signed ("s...") or unsigned integers of this type."""
    width = bits(kind)
    low = resized(value, width)
    return low.view(SIGNED[width]) if kind[0] == "s" else low


def extended(value: Array, width: int) -> Array:
    """Return integers as bits of a register: with their sign if they are signed, else with zeros."""
    if value.dtype.kind == "i":
        return value.astype(SIGNED[width], copy=False).view(UNSIGNED[width])
    return resized(value, width)


def bfloat16(value: Array) -> Array:
    """Return the bits of float32 values rounded to bfloat16, to the nearest even."""
    raw = value.view(np.uint32)
    rounded = (raw + (np.uint32(0x7FFF) + ((raw >> 16) & np.uint32(1)))) >> 16
    return np.where(np.isnan(value), np.uint32(0x7FFF), rounded).astype(np.uint16)


TO_FLOAT: dict[str, Callable[[Array], Array]] = {
    "f16": lambda raw: raw.view(np.float16).astype(np.float32),
    "bf16": lambda raw: (raw.astype(np.uint32) << 16).view(np.float32),
    "f32": lambda raw: raw.view(np.float32),
    "f64": lambda raw: raw.view(np.float64),
}
"""Functions from bits to numbers. 16-bit numbers are computed in float32."""

FROM_FLOAT: dict[str, Callable[[Array], Array]] = {
    "f16": lambda number: number.astype(np.float16).view(np.uint16),
    "bf16": lambda number: bfloat16(number.astype(np.float32, copy=False)),
    "f32": lambda number: number.astype(np.float32, copy=False).view(np.uint32),
    "f64": lambda number: number.astype(np.float64, copy=False).view(np.uint64),
}
"""Functions from numbers to bits, with rounding to the nearest even."""


def halves(value: Array) -> tuple[Array, Array]:
    """Return the low and the high 16 bits of 32-bit values."""
    return value.astype(np.uint16), (value >> 16).astype(np.uint16)


def joined(low: Array, high: Array) -> Array:
    """Return 32-bit values from their low and high 16 bits."""
    return low.astype(np.uint32) | (high.astype(np.uint32) << 16)
