"""Snippets of PTX that run in 32 threads, and their results in Python's own integers and numbers."""

import math
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from ptx_machine.machine import Machine

LANES = 32
TORCH = {8: torch.uint8, 16: torch.int16, 32: torch.int32, 64: torch.int64}
FORMATS = {"f16": "e", "f32": "f", "f64": "d"}
EXPONENTS = {"f16": (11, -14), "bf16": (8, -126), "f32": (24, -126), "f64": (53, -1022)}
"""Bits of the significand and smallest exponent of a normal number."""


def width(kind: str) -> int:
    """Return the bits of a type; a predicate is stored in 32 bits."""
    return {"pred": 32, "f16x2": 32, "bf16x2": 32, "bf16": 16}.get(kind) or int(kind[1:])


def decoded(raw: int, kind: str) -> Any:
    """Return the number of a bit pattern."""
    bits = width(kind)
    if kind in ("f16x2", "bf16x2"):
        return tuple(decoded(raw >> shift & 0xFFFF, kind.removesuffix("x2")) for shift in (0, 16))
    if kind == "bf16":
        return struct.unpack("<f", struct.pack("<I", raw << 16))[0]
    if kind in FORMATS:
        return struct.unpack(f"<{FORMATS[kind]}", raw.to_bytes(bits // 8, "little"))[0]
    return raw - (1 << bits) if kind[0] == "s" and raw >> (bits - 1) else raw


def encoded(number: Any, kind: str) -> int:
    """Return the bit pattern of an exact number, rounded to the nearest even."""
    if isinstance(number, tuple):
        return sum(encoded(half, kind.removesuffix("x2")) << shift for half, shift in zip(number, (0, 16), strict=True))
    if kind not in EXPONENTS:
        return int(number) & ((1 << width(kind)) - 1)
    number = rounded(number, *EXPONENTS[kind])
    try:
        if kind == "bf16":
            return int.from_bytes(struct.pack("<f", number)[2:], "little")
        return int.from_bytes(struct.pack(f"<{FORMATS[kind]}", number), "little")
    except OverflowError:
        return encoded(math.copysign(math.inf, number), kind)


def rounded(number: Any, digits: int, smallest: int) -> float:
    """Return an exact number rounded to binary digits; infinities, NaN and signed zeros stay as they are."""
    if not isinstance(number, Fraction) and (not math.isfinite(number) or number == 0):
        return float(number)
    exact = Fraction(number)
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    exponent -= abs(exact) < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, smallest) - digits + 1)
    return float(round(exact / unit) * unit)


EDGES = {
    8: [0, 1, 0x7F, 0x80, 0xFF],
    16: [0, 1, 0x7FFF, 0x8000, 0xFFFF],
    32: [0, 1, 7, 31, 33, 2**31 - 1, 2**31, 2**32 - 1],
}
NUMBERS = [
    0.0,
    1.0,
    -1.0,
    1.5,
    -2.75,
    0.1,
    3.14159,
    100.0,
    -1000.5,
    1e-4,
    65504.0,
    math.inf,
    -math.inf,
    math.nan,
    2.5,
    -0.5,
]


def patterns(kind: str, seed: int) -> list[int]:
    """Return a bit pattern for every lane: special values, then random ones, in an order of their own."""
    random = np.random.default_rng(seed)
    if kind == "pred":
        return [int(flag) for flag in random.integers(0, 2, LANES)]
    if kind.endswith("x2"):
        low, high = (patterns(kind.removesuffix("x2"), seed + shift) for shift in (0, 100))
        return [a | b << 16 for a, b in zip(low, high, strict=True)]
    if kind in EXPONENTS:
        values = [*NUMBERS, *random.normal(0, 30, LANES - len(NUMBERS))]
        chosen = [encoded(float(value), kind) for value in values]
    else:
        edges = EDGES.get(width(kind), [0, 1, 2**63 - 1, 2**63, 2**64 - 1, 2**32, 2**40 + 3])
        filling = random.integers(0, 2**63, LANES - len(edges), dtype=np.uint64) * 2 + 1
        chosen = [*edges, *(int(value) % 2 ** width(kind) for value in filling)]
    return [chosen[place] for place in random.permutation(LANES)]


def kernel_text(name: str, tensors: int, threads: int, registers: dict[str, str], body: str) -> str:
    """Return the text of a kernel whose parameters are tensors, with registers by type."""
    parameters = ",\n".join(f"\t.param .u64 .ptr .global .align 1 {name}_param_{i}" for i in range(tensors))
    declared = "".join(f"\t.reg .{kind} {names};\n" for kind, names in registers.items())
    return (
        f".version 8.7\n.target sm_80\n.extern .shared .align 16 .b8 global_smem[];\n.visible .entry {name}(\n"
        f"{parameters}\n)\n.reqntid {threads}\n{{\n{declared}{body}\n\tret;\n}}\n"
    )


def run(lines: str, inputs: Sequence[tuple[str, list[int]]], output: str, shared: int = 0) -> list[int]:
    """Run instructions that compute register %o0 from %i0, %i1, ... in 32 threads, and return its bits."""
    registers = {"pred": "%p<4>", "b16": "%h<4>", "b32": "%w<8>, %t<3>", "b64": "%rd<9>"}
    for name, kind in [("%o0", output), *((f"%i{i}", kind) for i, (kind, _) in enumerate(inputs))]:
        registers["pred" if kind == "pred" else f"b{width(kind)}"] += f", {name}"
    loads = ""
    for i, (kind, _) in enumerate([*inputs, (output, [])]):
        size, to = width(kind) // 8, f"%i{i}" if kind != "pred" else "%t1"
        loads += f"\tld.param.b64 %rd{i}, [snippet_param_{i}];\n\tmad.wide.u32 %rd{i}, %t0, {size}, %rd{i};\n"
        if i < len(inputs):
            loads += f"\tld.global.b{width(kind)} {to}, [%rd{i}];\n"
            loads += f"\tsetp.ne.b32 %i{i}, %t1, 0;\n" if kind == "pred" else ""
    stored = "%o0"
    if output == "pred":
        lines, stored = f"{lines}\n\tselp.b32 %t2, 1, 0, %o0;", "%t2"
    body = f"\tmov.u32 %t0, %tid.x;\n{loads}\t{lines}\n\tst.global.b{width(output)} [%rd{len(inputs)}], {stored};"
    ptx = kernel_text("snippet", len(inputs) + 1, LANES, registers, body)
    tensors = [
        torch.from_numpy(np.array(raw, np.uint64).astype(f"u{width(kind) // 8}").view(f"i{width(kind) // 8}"))
        for kind, raw in inputs
    ]
    result = torch.zeros(LANES, dtype=TORCH[width(output)])
    Machine(ptx, shared).run((1,), [*tensors, result])
    return [int(value) % 2 ** width(output) for value in result]


def assert_computes(lines: str, inputs: str, output: str, function: Callable[..., Any], tolerance: float = 0.0) -> None:
    """Check the result of every lane against a function of Python numbers."""
    given = [(kind, patterns(kind, seed)) for seed, kind in enumerate(inputs.split())]
    actual = run(lines, given, output)
    for lane in range(LANES):
        operands = [decoded(raw[lane], kind) for kind, raw in given]
        expected = function(*operands)
        if tolerance and math.isfinite(expected) and expected != 0:
            assert decoded(actual[lane], output) == pytest.approx(expected, rel=tolerance), operands
            continue
        number, wanted = decoded(actual[lane], output), decoded(encoded(expected, output), output)
        assert number == wanted or (number != number and wanted != wanted) or _same_halves(number, wanted), operands


def _same_halves(number: Any, wanted: Any) -> bool:
    return isinstance(number, tuple) and all(a == b or (a != a and b != b) for a, b in zip(number, wanted, strict=True))
