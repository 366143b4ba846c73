"""Floating-point instructions and comparisons.

Approximate functions (`ex2.approx` and the like) are computed to float32 accuracy. `fma` of 32-bit and shorter numbers
is computed in float64, of float64 in extended precision: it differs from the exact result only near a tie.
"""

from collections.abc import Callable

import numpy as np

from ptx_machine.integers import arithmetic, multiply
from ptx_machine.program import Instruction
from ptx_machine.threads import Decoder, Registers, Step, Threads, computed
from ptx_machine.values import FROM_FLOAT, TO_FLOAT, Array, as_integer, bits, halves, joined

Function = Callable[..., Array]

NAMES: dict[str, Function] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "min": np.fmin,
    "max": np.fmax,
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "rsqrt": lambda a: 1 / np.sqrt(a),
    "rcp": lambda a: 1 / a,
    "ex2": np.exp2,
    "lg2": np.log2,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
}
KEEPING_NAN = {"min": np.minimum, "max": np.maximum}
HARMLESS = {"rn", "approx", "full", "ftz", "NaN"}
"""Modifiers that are implemented, or that allow more error than the machine makes."""

_SMALLEST = np.float32(np.finfo(np.float32).tiny)


def flushed(number: Array) -> Array:
    """Return float32 numbers with zeros of the same sign for subnormal ones."""
    return number * (np.abs(number) >= _SMALLEST)


def on_bits(function: Function, kind: str, flush: bool = False) -> Function:
    """Return a function of numbers of this type as a function of bits; a type with "x2" holds two numbers."""
    if kind.endswith("x2"):
        half = on_bits(function, kind.removesuffix("x2"))

        def twice(*values: Array) -> Array:
            return joined(*(half(*numbers) for numbers in zip(*map(halves, values), strict=True)))

        return twice
    load, store = TO_FLOAT[kind], FROM_FLOAT[kind]
    if flush:
        return lambda *values: store(flushed(function(*(flushed(load(value)) for value in values))))
    return lambda *values: store(function(*(load(value) for value in values)))


def is_float(instruction: Instruction) -> bool:
    """Return whether an instruction computes with floating-point numbers."""
    return instruction.kind[:1] == "f" or instruction.kind[:2] == "bf"


def floating(instruction: Instruction, registers: Registers) -> Step:
    """Decode an instruction of one or two numbers, or leave integers to their decoders."""
    name, kind, rules = instruction.name, instruction.kind, set(instruction.modifiers[:-1])
    if not is_float(instruction):
        return (multiply if name == "mul" else arithmetic)(instruction, registers)
    if rules - HARMLESS:
        raise NotImplementedError(instruction.opcode)
    function = KEEPING_NAN[name] if "NaN" in rules else NAMES[name]
    width, count = bits(kind), len(instruction.operands) - 1
    return computed(on_bits(function, kind, "ftz" in rules), [width] * count, instruction, registers)


def fused(instruction: Instruction, registers: Registers) -> Step:
    """Decode `fma`: a product and a sum with one rounding."""
    kind, rules = instruction.kind, set(instruction.modifiers[:-1])
    if rules - {"rn", "ftz"}:
        raise NotImplementedError(instruction.opcode)
    wide = np.longdouble if kind == "f64" else np.float64

    def multiplied(a: Array, b: Array, c: Array) -> Array:
        exact = a.astype(wide) * b.astype(wide) + c.astype(wide)
        return exact if kind in ("f16", "f16x2") else exact.astype(a.dtype)

    return computed(on_bits(multiplied, kind, "ftz" in rules), [bits(kind)] * 3, instruction, registers)


ORDERED: dict[str, Function] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: (a < b) | (a > b),
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}
COMPARISONS: dict[str, Function] = {
    **ORDERED,
    "equ": lambda a, b: ~ORDERED["ne"](a, b),
    "neu": lambda a, b: a != b,
    "ltu": lambda a, b: ~(a >= b),
    "leu": lambda a, b: ~(a > b),
    "gtu": lambda a, b: ~(a <= b),
    "geu": lambda a, b: ~(a < b),
    "num": lambda a, b: (a == a) & (b == b),
    "nan": lambda a, b: (a != a) | (b != b),
    "lo": ORDERED["lt"],
    "ls": ORDERED["le"],
    "hi": ORDERED["gt"],
    "hs": ORDERED["ge"],
}
COMBINED: dict[str, Function] = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


def compare(instruction: Instruction, registers: Registers) -> Step:
    """Decode `setp`: a comparison, and perhaps its combination with a predicate.

    Of two targets `%p|%q`, the second gets the opposite, or for a type with "x2" the result of the high halves.
    """
    comparison, *rules, kind = instruction.modifiers
    combine = [COMBINED[rule] for rule in rules if rule in COMBINED]
    if set(rules) - COMBINED.keys() - {"ftz"} or comparison not in COMPARISONS:
        raise NotImplementedError(instruction.opcode)
    test, width = COMPARISONS[comparison], bits(kind)
    names, *sources = instruction.operands
    targets = [registers.target(name) for name in names.split("|")]
    a, b, *condition = (registers.source(text, w) for text, w in zip(sources, (width, width, 1), strict=False))

    def load(value: Array) -> list[Array]:
        if not is_float(instruction):
            return [as_integer(value, kind)]
        numbers = [TO_FLOAT[kind.removesuffix("x2")](half) for half in (halves(value) if "x2" in kind else [value])]
        return [flushed(number) for number in numbers] if "ftz" in rules else numbers

    def step(threads: Threads) -> None:
        results = [test(x, y) for x, y in zip(load(threads.values[a]), load(threads.values[b]), strict=True)]
        if len(results) < len(targets):
            results.append(~results[0])
        for target, result in zip(targets, results, strict=True):
            for function, place in zip(combine, condition, strict=True):
                result = function(result, threads.values[place])
            threads.write(target, result)

    return step


FLOATS: dict[str, Decoder] = {**dict.fromkeys(NAMES, floating), "fma": fused, "setp": compare}
"""Decoders of the instructions of numbers, of which some also take integers, by name."""
