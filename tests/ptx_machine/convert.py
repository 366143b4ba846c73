"""Conversions between types, and moves between registers."""

import numpy as np

from ptx_machine.floats import flushed
from ptx_machine.program import Instruction
from ptx_machine.threads import Decoder, Registers, Step, Threads, computed
from ptx_machine.values import FROM_FLOAT, SIGNED, TO_FLOAT, UNSIGNED, Array, as_integer, bits, extended, joined

ROUNDED_TO_INTEGERS = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def convert(instruction: Instruction, registers: Registers) -> Step:
    """Decode `cvt`."""
    *rules, to, of = instruction.modifiers
    if set(rules) - {"rn", "ftz", "sat", "rna", *ROUNDED_TO_INTEGERS}:
        raise NotImplementedError(instruction.opcode)
    if of == "f32" and to in ("bf16x2", "f16x2"):
        store = FROM_FLOAT[to.removesuffix("x2")]
        return computed(
            lambda high, low: joined(store(low.view(np.float32)), store(high.view(np.float32))),
            [32, 32],
            instruction,
            registers,
        )
    if (to, of, rules) == ("tf32", "f32", ["rna"]):
        return computed(_tf32, [32], instruction, registers)
    if "rna" in rules:
        raise NotImplementedError(instruction.opcode)
    width = registers.program.width(instruction.operands[0])
    whole = next((ROUNDED_TO_INTEGERS[rule] for rule in rules if rule in ROUNDED_TO_INTEGERS), None)
    flush, saturate = "ftz" in rules, "sat" in rules

    def converted(value: Array) -> Array:
        number = TO_FLOAT[of](value) if of in TO_FLOAT else as_integer(value, of)
        if flush and of == "f32":
            number = flushed(number)
        if whole is not None:
            number = whole(number)
        if to not in TO_FLOAT:
            return extended(_integer(number, to, saturate), width)
        if saturate:
            number = np.nan_to_num(np.clip(number, 0, 1), nan=0.0)
        if number.dtype.kind in "iu":
            number = number.astype(np.float32 if to == "f32" else np.float64)
        if flush and to == "f32":
            number = flushed(number.astype(np.float32, copy=False))
        return FROM_FLOAT[to](number)

    return computed(converted, [bits(of)], instruction, registers)


def _integer(number: Array, kind: str, saturate: bool) -> Array:
    """Return numbers as integers of a type: floats within its range, integers by their low bits."""
    width = bits(kind)
    dtype = (SIGNED if kind[0] == "s" else UNSIGNED)[width]
    if number.dtype.kind in "iu":
        if saturate:
            raise NotImplementedError("saturation of integers")
        return number.astype(dtype)
    limits = np.iinfo(dtype)
    exact = number.astype(np.longdouble)
    inside = np.clip(np.where(np.isnan(exact), 0, exact), limits.min, limits.max)
    return inside.astype(dtype)


def _tf32(raw: Array) -> Array:
    """Return float32 bits rounded to 10 bits after the leading one, halves away from zero."""
    rounded = (raw + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    return np.where((raw & np.uint32(0x7F800000)) == np.uint32(0x7F800000), raw, rounded)


def move(instruction: Instruction, registers: Registers) -> Step:
    """Decode `mov`: a copy, or the packing or unpacking of a vector `{%rs1, %rs2}`."""
    target, source = instruction.operands
    width = bits(instruction.kind)
    if target.startswith("{"):
        names = target.strip("{} ").replace(" ", "").split(",")
        places = [registers.target(name) for name in names]
        whole, part = registers.source(source, width), width // len(names)

        def unpack(threads: Threads) -> None:
            value = threads.values[whole]
            for i, place in enumerate(places):
                threads.write(place, (value >> value.dtype.type(part * i)).astype(UNSIGNED[part]))

        return unpack
    if source.startswith("{"):
        names = source.strip("{} ").replace(" ", "").split(",")
        part, dtype = width // len(names), UNSIGNED[width]
        parts = [registers.source(name, part) for name in names]
        place = registers.target(target)

        def pack(threads: Threads) -> None:
            value = threads.values[parts[0]].astype(dtype)
            for i, other in enumerate(parts[1:], 1):
                value = value | (threads.values[other].astype(dtype) << dtype(part * i))
            threads.write(place, value)

        return pack
    return computed(lambda value: value, [width], instruction, registers)


CONVERSIONS: dict[str, Decoder] = {"cvt": convert, "mov": move}
"""Decoders of conversions and moves, by name."""
