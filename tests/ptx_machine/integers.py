"""Integer, logical and selecting instructions."""

from collections.abc import Callable

import numpy as np

from ptx_machine.program import Instruction
from ptx_machine.threads import Decoder, Registers, Step, computed
from ptx_machine.values import SIGNED, UNSIGNED, Array, as_integer, bits, constant

Function = Callable[..., Array]

UP = {8: 16, 16: 32, 32: 64}
"""Width of the whole product of two integers."""


def _wrapped(function: Function) -> Callable[[str], Function]:
    """Return a maker for functions in which the sign does not matter."""
    return lambda kind: function


def _signed(function: Function) -> Callable[[str], Function]:
    """Return a maker for functions of integers of the type of the instruction."""

    def make(kind: str) -> Function:
        width = bits(kind)
        return lambda *values: function(*(as_integer(value, kind) for value in values)).view(UNSIGNED[width])

    return make


def _quotient(a: Array, b: Array) -> Array:
    """Return the quotient, truncated towards zero; undefined for a divisor of zero."""
    with np.errstate(all="ignore"):
        safe = np.where(b == 0, b.dtype.type(1), b)
        quotient = a // safe
        return (
            quotient + ((quotient < 0) & (quotient * safe != a)).astype(quotient.dtype)
            if a.dtype.kind == "i"
            else quotient
        )


def _remainder(a: Array, b: Array) -> Array:
    return np.fmod(a, np.where(b == 0, b.dtype.type(1), b))


BINARY: dict[str, Callable[[str], Function]] = {
    "add": _wrapped(lambda a, b: a + b),
    "sub": _wrapped(lambda a, b: a - b),
    "and": _wrapped(lambda a, b: a & b),
    "or": _wrapped(lambda a, b: a | b),
    "xor": _wrapped(lambda a, b: a ^ b),
    "min": _signed(np.minimum),
    "max": _signed(np.maximum),
    "div": _signed(_quotient),
    "rem": _signed(_remainder),
}

UNARY: dict[str, Callable[[str], Function]] = {
    "neg": _wrapped(lambda a: ~a + a.dtype.type(1)),
    "abs": _signed(np.abs),
    "not": _wrapped(lambda a: ~a),
}


def arithmetic(instruction: Instruction, registers: Registers) -> Step:
    """Decode an instruction of one or two integers of one width."""
    width, name = bits(instruction.kind), instruction.name
    if len(instruction.modifiers) != 1:
        raise NotImplementedError(instruction.opcode)
    if name in UNARY:
        return computed(UNARY[name](instruction.kind), [width], instruction, registers)
    return computed(BINARY[name](instruction.kind), [width, width], instruction, registers)


def _product(kind: str, part: str) -> Function:
    """Return the function for the low half, the high half or all bits of a product."""
    width = bits(kind)
    if part == "lo":
        return lambda a, b: a * b
    if width == 64:
        return lambda a, b: _high_64(a, b, kind)
    whole = kind[0] + str(UP[width])

    def product(a: Array, b: Array) -> Array:
        wide = as_integer(a, kind).astype(_dtype(whole)) * as_integer(b, kind).astype(_dtype(whole))
        if part == "wide":
            return wide.view(UNSIGNED[UP[width]])
        return (wide >> width).astype(_dtype(kind)).view(UNSIGNED[width])

    return product


def _dtype(kind: str) -> type[np.generic]:
    return (SIGNED if kind[0] == "s" else UNSIGNED)[bits(kind)]


def _high_64(a: Array, b: Array, kind: str) -> Array:
    """Return the high 64 bits of a product, from products of 32-bit halves."""
    low_mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, b0, b1 = a & low_mask, a >> half, b & low_mask, b >> half
    carry = ((a0 * b0) >> half) + ((a1 * b0) & low_mask) + ((a0 * b1) & low_mask)
    high = a1 * b1 + ((a1 * b0) >> half) + ((a0 * b1) >> half) + (carry >> half)
    if kind[0] == "s":
        high = high - np.where(a.view(np.int64) < 0, b, np.uint64(0)) - np.where(b.view(np.int64) < 0, a, np.uint64(0))
    return high


def multiply(instruction: Instruction, registers: Registers) -> Step:
    """Decode `mul` and `mad`."""
    part, kind = instruction.modifiers
    if part not in ("lo", "hi", "wide"):
        raise NotImplementedError(instruction.opcode)
    width = bits(kind)
    product = _product(kind, part)
    if instruction.name == "mul":
        return computed(product, [width, width], instruction, registers)
    last = UP[width] if part == "wide" else width
    return computed(lambda a, b, c: product(a, b) + c, [width, width, last], instruction, registers)


def shift(instruction: Instruction, registers: Registers) -> Step:
    """Decode `shl` and `shr`. A distance beyond the width shifts all bits out."""
    kind, left = instruction.kind, instruction.name == "shl"
    width = bits(kind)

    def shifted(a: Array, distance: Array) -> Array:
        a = as_integer(a, kind)
        if a.dtype.kind == "i":
            return (a >> np.minimum(distance, width - 1).astype(a.dtype)).view(UNSIGNED[width])
        inside = np.minimum(distance, width - 1).astype(a.dtype)
        moved = a << inside if left else a >> inside
        return np.where(distance < width, moved, a.dtype.type(0))

    return computed(shifted, [width, 32], instruction, registers)


def funnel_shift(instruction: Instruction, registers: Registers) -> Step:
    """Decode `shf`: a shift of the 64 bits of two registers."""
    direction, mode, _ = instruction.modifiers

    def shifted(low: Array, high: Array, distance: Array) -> Array:
        both = low.astype(np.uint64) | (high.astype(np.uint64) << np.uint64(32))
        by = (distance & np.uint32(31) if mode == "wrap" else np.minimum(distance, np.uint32(32))).astype(np.uint64)
        return ((both << by) >> np.uint64(32) if direction == "l" else both >> by).astype(np.uint32)

    return computed(shifted, [32, 32, 32], instruction, registers)


def extract(instruction: Instruction, registers: Registers) -> Step:
    """Decode `bfe`: bits from a place on, with the sign of the highest one if the type is signed."""
    kind = instruction.kind
    width = bits(kind)

    def extracted(a: Array, place: Array, length: Array) -> Array:
        place, length = (np.minimum(value & np.uint32(0xFF), width).astype(np.int64) for value in (place, length))
        number = as_integer(a, kind).astype(_dtype(kind[0] + "64"))
        inside = np.minimum(place, 63).astype(number.dtype)
        field = np.where((place < 64) | (number.dtype.kind == "i"), number >> inside, number.dtype.type(0))
        above = (64 - np.maximum(length, 1)).astype(number.dtype)
        field = (field << above) >> above
        return np.where(length > 0, field, field.dtype.type(0)).astype(UNSIGNED[width])

    return computed(extracted, [width, 32, 32], instruction, registers)


def insert(instruction: Instruction, registers: Registers) -> Step:
    """Decode `bfi`: bits of the first operand put into the second one."""
    width = bits(instruction.kind)
    dtype = UNSIGNED[width]

    def inserted(a: Array, b: Array, place: Array, length: Array) -> Array:
        place, length = (np.minimum(value & np.uint32(0xFF), width) for value in (place, length))
        ones = np.where(length < width, (dtype(1) << (length % width).astype(dtype)) - dtype(1), ~dtype(0))
        inside = (place % width).astype(dtype)
        field = np.where(place < width, ones << inside, dtype(0))
        return (b & ~field) | ((a << inside) & field)

    return computed(inserted, [width, width, 32, 32], instruction, registers)


def permute(instruction: Instruction, registers: Registers) -> Step:
    """Decode `prmt.b32`: four of the eight bytes of two registers, or copies of their signs."""
    if instruction.modifiers != ("b32",):
        raise NotImplementedError(instruction.opcode)

    def permuted(a: Array, b: Array, selector: Array) -> Array:
        both = a.astype(np.uint64) | (b.astype(np.uint64) << np.uint64(32))
        result = np.uint32(0)
        for place in range(4):
            chosen = (selector >> np.uint32(4 * place)) & np.uint32(15)
            byte = (both >> ((chosen & np.uint32(7)) * np.uint32(8))).astype(np.uint8)
            sign = np.where(byte >> np.uint8(7), np.uint8(0xFF), np.uint8(0))
            result = result | (np.where(chosen >> np.uint32(3), sign, byte).astype(np.uint32) << np.uint32(8 * place))
        return result

    return computed(permuted, [32, 32, 32], instruction, registers)


def look_up(instruction: Instruction, registers: Registers) -> Step:
    """Decode `lop3.b32`: a logical function of three registers, given as its table of eight results."""
    table = int(constant(instruction.operands[4], 8)[0, 0])

    def looked_up(a: Array, b: Array, c: Array, _: Array) -> Array:
        result = np.uint32(0)
        for row in range(8):
            if table >> row & 1:
                result = result | (a if row & 4 else ~a) & (b if row & 2 else ~b) & (c if row & 1 else ~c)
        return result | (a & np.uint32(0))

    return computed(looked_up, [32, 32, 32, 8], instruction, registers)


def select(instruction: Instruction, registers: Registers) -> Step:
    """Decode `selp`."""
    width = bits(instruction.kind)
    return computed(lambda a, b, condition: np.where(condition, a, b), [width, width, 1], instruction, registers)


INTEGERS: dict[str, Decoder] = {
    **dict.fromkeys(("and", "or", "xor", "not", "rem"), arithmetic),
    "mad": multiply,
    "shl": shift,
    "shr": shift,
    "shf": funnel_shift,
    "bfe": extract,
    "bfi": insert,
    "prmt": permute,
    "lop3": look_up,
    "selp": select,
}
"""Decoders of the instructions that only take integers, by name."""
