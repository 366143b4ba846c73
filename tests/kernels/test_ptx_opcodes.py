"""Every opcode of the PTX machine against Python's own integers and numbers, or values computed by hand."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from ptx_machine.snippets import assert_computes, decoded, encoded, patterns, run, width

pytestmark = pytest.mark.ptx


def truncated(a: int, b: int) -> int:
    """Return the quotient of integers, truncated towards zero; the machine divides by 1 instead of 0."""
    b = b or 1
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


INTEGERS: list[tuple[str, str, str, Callable[..., int]]] = [
    *((f"{name}.{kind} %o0, %i0, %i1;", f"{kind} {kind}", kind, function)
      for name, function in {
          "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul.lo": lambda a, b: a * b,
          "min": min, "max": max, "div": truncated, "rem": lambda a, b: a - truncated(a, b) * (b or 1),
      }.items()
      for kind in ("s16", "u16", "s32", "u32", "s64", "u64")),
    *((f"mul.hi.{kind} %o0, %i0, %i1;", f"{kind} {kind}", kind, lambda a, b, n=n: a * b >> n)
      for kind, n in (("s16", 16), ("u16", 16), ("s32", 32), ("u32", 32), ("s64", 64), ("u64", 64))),
    *((f"mul.wide.{kind} %o0, %i0, %i1;", f"{kind} {kind}", wide, lambda a, b: a * b)
      for kind, wide in {"s16": "s32", "u16": "u32", "s32": "s64", "u32": "u64"}.items()),
    *((f"mad.wide.{kind} %o0, %i0, %i1, %i2;", f"{kind} {kind} {wide}", wide, lambda a, b, c: a * b + c)
      for kind, wide in {"s32": "s64", "u32": "u64", "u16": "u32"}.items()),
    *((f"mad.lo.{kind} %o0, %i0, %i1, %i2;", f"{kind} {kind} {kind}", kind, lambda a, b, c: a * b + c)
      for kind in ("s32", "s64", "u16")),
    *((f"{name}.{kind} %o0, %i0, %i1;", f"u{kind[1:]} u{kind[1:]}", f"u{kind[1:]}", function)
      for name, function in {"and": int.__and__, "or": int.__or__, "xor": int.__xor__}.items()
      for kind in ("b16", "b32", "b64")),
    *((f"{name}.pred %o0, %i0, %i1;", "pred pred", "pred", function)
      for name, function in {"and": int.__and__, "or": int.__or__, "xor": int.__xor__}.items()),
    *((f"not.{kind} %o0, %i0;", f"u{kind[1:]}", f"u{kind[1:]}", lambda a: ~a) for kind in ("b16", "b32", "b64")),
    ("not.pred %o0, %i0;", "pred", "pred", lambda a: 1 - a),
    *((f"neg.{kind} %o0, %i0;", kind, kind, lambda a: -a) for kind in ("s16", "s32", "s64")),
    *((f"abs.{kind} %o0, %i0;", kind, kind, abs) for kind in ("s16", "s32", "s64")),
    *((f"shl.b{w} %o0, %i0, {n};", f"u{w}", f"u{w}", lambda a, n=n: a << n)
      for w, n in ((16, 3), (32, 5), (64, 40), (32, 32))),
    *((f"shr.{kind} %o0, %i0, {n};", kind, kind, lambda a, n=n: a >> n)
      for kind, n in (("u16", 3), ("s16", 15), ("u32", 31), ("s32", 9), ("s32", 40),
                      ("u64", 33), ("s64", 60), ("u32", 32))),
    ("shl.b32 %o0, %i0, %i1;", "u32 u32", "u32", lambda a, n: a << n if n < 32 else 0),
    ("shr.s32 %o0, %i0, %i1;", "s32 u32", "s32", lambda a, n: a >> min(n, 31)),
    ("shf.l.wrap.b32 %o0, %i0, %i1, 7;", "u32 u32", "u32", lambda low, high: (high << 7) | (low >> 25)),
    ("shf.r.clamp.b32 %o0, %i0, %i1, 9;", "u32 u32", "u32", lambda low, high: (low >> 9) | (high << 23)),
    *((f"bfe.u32 %o0, %i0, {p}, {n};", "u32", "u32", lambda a, p=p, n=n: a >> p & ((1 << n) - 1))
      for p, n in ((3, 5), (0, 32), (28, 9), (5, 0))),
    ("bfe.s32 %o0, %i0, 3, 1;", "u32", "s32", lambda a: -(a >> 3 & 1)),
    ("bfe.s32 %o0, %i0, 4, 8;", "u32", "s32", lambda a: ((a >> 4 & 0xFF) ^ 0x80) - 0x80),
    ("bfe.u64 %o0, %i0, 30, 20;", "u64", "u64", lambda a: a >> 30 & 0xFFFFF),
    ("bfe.s64 %o0, %i0, 50, 14;", "s64", "s64", lambda a: a >> 50),
    ("bfi.b32 %o0, %i0, %i1, 8, 12;", "u32 u32", "u32", lambda a, b: b & ~0xFFF00 | (a & 0xFFF) << 8),
    ("prmt.b32 %o0, %i0, %i1, 0x5410;", "u32 u32", "u32", lambda a, b: (a & 0xFFFF) | (b & 0xFFFF) << 16),
    ("prmt.b32 %o0, %i0, 0, 0x7701U;", "u32", "u32", lambda a: (a >> 8 & 0xFF) | (a & 0xFF) << 8),
    ("prmt.b32 %o0, %i0, %i1, 0xF730;", "u32 u32", "u32",
     lambda a, b: (a & 0xFF) | (a >> 24) << 8 | (b >> 24) << 16 | (0xFF000000 if b >> 31 else 0)),
    ("lop3.b32 %o0, %i0, %i1, %i2, 0xCA;", "u32 u32 u32", "u32", lambda a, b, c: (a & b) | (~a & c)),
    ("selp.b32 %o0, %i0, %i1, %i2;", "u32 u32 pred", "u32", lambda a, b, p: a if p else b),
    ("selp.b16 %o0, %i0, 0x0003, %i1;", "u16 pred", "u16", lambda a, p: a if p else 3),
    ("selp.b64 %o0, %i0, 7, %i1;", "u64 pred", "u64", lambda a, p: a if p else 7),
]  # fmt: skip


@pytest.mark.parametrize(("line", "inputs", "output", "function"), INTEGERS, ids=[case[0] for case in INTEGERS])
def test_integers(line: str, inputs: str, output: str, function: Callable[..., int]) -> None:
    assert_computes(line, inputs, output, function)


def exact(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of finite numbers in exact arithmetic, and of others in floating point."""

    def computed(*numbers: float) -> Any:
        try:
            if all(math.isfinite(number) for number in numbers) and any(numbers):
                result = function(*map(Fraction, numbers))
                return result if result else function(*numbers)
            return function(*numbers)
        except ZeroDivisionError:
            top = numbers[0] if len(numbers) > 1 else 1.0
            return (
                math.nan if top == 0 or top != top else math.copysign(math.inf, top) * math.copysign(1.0, numbers[-1])
            )

    return computed


def other_than_nan(function: Callable[..., float]) -> Callable[[float, float], float]:
    """Return a function that ignores a NaN beside a number."""
    return lambda a, b: b if a != a else a if b != b else function(a, b)


FLOATS: list[tuple[str, str, str, Callable[..., Any], float]] = [
    *((f"{name}.{kind} %o0, %i0, %i1;", f"{kind} {kind}", kind, exact(function), 0.0)
      for name, function in {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b}.items()
      for kind in ("f32", "f64", "f16", "bf16")),
    *((f"div.{rule} %o0, %i0, %i1;", f"{rule[-3:]} {rule[-3:]}", rule[-3:], exact(lambda a, b: a / b), 1e-6)
      for rule in ("full.f32", "rn.f32", "approx.f32", "rn.f64")),
    *((f"fma.rn.{kind} %o0, %i0, %i1, %i2;", f"{kind} {kind} {kind}", kind, exact(lambda a, b, c: a * b + c), 0.0)
      for kind in ("f32", "f64", "f16", "bf16")),
    *((f"{name}.{kind} %o0, %i0, %i1;", f"{kind} {kind}", kind, other_than_nan(function), 0.0)
      for name, function in {"min": min, "max": max}.items() for kind in ("f32", "f64", "f16", "bf16")),
    *((f"{name}.NaN.{kind} %o0, %i0, %i1;", f"{kind} {kind}", kind,
       lambda a, b, f=function: math.nan if a != a or b != b else f(a, b), 0.0)
      for name, function in {"min": min, "max": max}.items() for kind in ("f32", "f16", "bf16")),
    *((f"neg.{kind} %o0, %i0;", kind, kind, lambda a: -a, 0.0) for kind in ("f32", "f64", "f16", "bf16")),
    *((f"abs.{kind} %o0, %i0;", kind, kind, abs, 0.0) for kind in ("f32", "f64", "f16", "bf16")),
    ("ex2.approx.f32 %o0, %i0;", "f32", "f32", lambda a: 2.0**a if a < 128 else math.inf if a == a else a, 1e-6),
    ("add.rn.f32 %o0, %i0, 0f3FC00000;", "f32", "f32", lambda a: a + 1.5, 0.0),
    ("add.rn.f64 %o0, %i0, 0d3FF8000000000000;", "f64", "f64", lambda a: a + 1.5, 0.0),
    ("rsqrt.approx.ftz.f32 %o0, %i0;", "f32", "f32",
     lambda a: math.nan if not a >= 0 else math.inf if a == 0 else 1 / math.sqrt(a), 1e-6),
    ("sqrt.approx.ftz.f32 %o0, %i0;", "f32", "f32", lambda a: math.sqrt(a) if a >= 0 else math.nan, 1e-6),
    ("rcp.approx.ftz.f32 %o0, %i0;", "f32", "f32", exact(lambda a: 1 / a), 1e-6),
    ("lg2.approx.f32 %o0, %i0;", "f32", "f32",
     lambda a: math.nan if not a >= 0 else -math.inf if a == 0 else math.log2(a) if a < math.inf else a, 1e-6),
    ("sin.approx.f32 %o0, %i0;", "f32", "f32", lambda a: math.sin(a) if math.isfinite(a) else math.nan, 1e-6),
    ("cos.approx.f32 %o0, %i0;", "f32", "f32", lambda a: math.cos(a) if math.isfinite(a) else math.nan, 1e-6),
    ("tanh.approx.f32 %o0, %i0;", "f32", "f32", math.tanh, 1e-6),
    ("add.f16x2 %o0, %i0, %i1;", "f16x2 f16x2", "f16x2",
     lambda a, b: tuple(exact(lambda x, y: x + y)(x, y) for x, y in zip(a, b, strict=True)), 0.0),
    ("mul.bf16x2 %o0, %i0, %i1;", "bf16x2 bf16x2", "bf16x2",
     lambda a, b: tuple(exact(lambda x, y: x * y)(x, y) for x, y in zip(a, b, strict=True)), 0.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "inputs", "output", "function", "tolerance"), FLOATS, ids=[case[0] for case in FLOATS]
)
def test_numbers(line: str, inputs: str, output: str, function: Callable[..., Any], tolerance: float) -> None:
    assert_computes(line, inputs, output, function, tolerance)


def test_subnormal_numbers_are_flushed_only_where_the_opcode_says_so() -> None:
    tiny = encoded(2.0**-127, "f32")
    for opcode, expected in {"mul.f32": 2.0**-126, "mul.ftz.f32": 0.0, "fma.rn.ftz.f32": 0.0}.items():
        third = ", 0f80000000" if "fma" in opcode else ""
        result = run(f"{opcode} %o0, %i0, 0f40000000{third};", [("f32", [tiny] * 32)], "f32")
        assert {decoded(raw, "f32") for raw in result} == {expected}, opcode


def test_tf32_rounds_ties_away_from_zero() -> None:
    result = run("cvt.rna.tf32.f32 %o0, %i0;", [("u32", [0x3F801000, 0xBF801000, 0x3F800FFF, 0x3F802000] * 8)], "u32")
    assert result == [0x3F802000, 0xBF802000, 0x3F800000, 0x3F802000] * 8


def to_integer(kind: str, rounding: Callable[[float], float]) -> Callable[[float], int]:
    """Return the conversion to an integer: within the range of the type, and 0 for NaN."""
    high = (1 << (width(kind) - (kind[0] == "s"))) - 1
    low = -high - 1 if kind[0] == "s" else 0

    def converted(number: float) -> int:
        if not math.isfinite(number):
            return 0 if number != number else high if number > 0 else low
        return int(min(max(rounding(number), low), high))

    return converted


CONVERSIONS: list[tuple[str, str, str, Callable[..., Any]]] = [
    *((f"cvt.{to}.{of} %o0, %i0;", of, to, lambda a: a)
      for to, of in (("s64", "s32"), ("u64", "u32"), ("u32", "u64"), ("u16", "u32"), ("u32", "u16"), ("s32", "s16"))),
    ("cvt.s16.s8 %o0, %i0;", "u16", "s16", lambda a: ((a & 0xFF) ^ 0x80) - 0x80),
    ("cvt.u32.u8 %o0, %i0;", "u16", "u32", lambda a: a & 0xFF),
    *((f"cvt.rn.{to}.{of} %o0, %i0;", of, to, Fraction)
      for to, of in (("f32", "s32"), ("f32", "u32"), ("f32", "s64"), ("f64", "s32"), ("f16", "s16"), ("f64", "u64"))),
    *((f"cvt.{rule}.{to}.{of} %o0, %i0;", of, to, to_integer(to, rounding))
      for rule, rounding in (("rzi", math.trunc), ("rni", round), ("rmi", math.floor), ("rpi", math.ceil))
      for to, of in (("s32", "f32"), ("u32", "f32"), ("s64", "f64"), ("s16", "f16"))),
    *((f"cvt{rule}.{to}.{of} %o0, %i0;", of, to, lambda a: a)
      for rule, to, of in (("", "f32", "f16"), ("", "f32", "bf16"), ("", "f64", "f32"), (".rn", "f32", "f64"),
                           (".rn", "f16", "f32"), (".rn", "bf16", "f32"))),
    ("cvt.rmi.f32.f32 %o0, %i0;", "f32", "f32", lambda a: math.floor(a) if math.isfinite(a) and a else a),
    ("cvt.sat.f32.f32 %o0, %i0;", "f32", "f32", lambda a: 0.0 if a != a else min(max(a, 0.0), 1.0)),
    ("cvt.rn.bf16x2.f32 %o0, %i0, %i1;", "f32 f32", "bf16x2", lambda high, low: (low, high)),
    ("cvt.rn.f16x2.f32 %o0, %i0, %i1;", "f32 f32", "f16x2", lambda high, low: (low, high)),
    ("cvt.rna.tf32.f32 %o0, %i0;", "u32", "u32",
     lambda raw: raw if raw >> 23 & 0xFF == 0xFF else (raw + 0x1000) & 0xFFFFE000),
    ("mov.b32 {%h0, %h1}, %i0; mov.b32 %o0, {%h1, %h0};", "u32", "u32", lambda a: a >> 16 | (a & 0xFFFF) << 16),
    ("mov.b64 {%w0, %w1}, %i0; mov.b64 %o0, {%w1, %w0};", "u64", "u64", lambda a: a >> 32 | (a & 0xFFFFFFFF) << 32),
    ("mov.b32 {_, %h1}, %i0; mov.b32 %o0, {%h1, 0x0001};", "u32", "u32", lambda a: a >> 16 | 1 << 16),
]  # fmt: skip


@pytest.mark.parametrize(("line", "inputs", "output", "function"), CONVERSIONS, ids=[c[0] for c in CONVERSIONS])
def test_conversions_and_moves(line: str, inputs: str, output: str, function: Callable[..., Any]) -> None:
    assert_computes(line, inputs, output, function)


def test_a_guard_keeps_the_other_threads_as_they_are() -> None:
    flags = patterns("pred", 3)
    result = run("mov.u32 %o0, %laneid; @!%i0 mov.b32 %o0, 77;", [("pred", flags)], "u32")
    assert result == [lane if flag else 77 for lane, flag in enumerate(flags)]


def ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Return a comparison that is false for NaN."""
    return lambda a, b: a == a and b == b and compare(a, b)


COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
}  # fmt: skip
COMPARISONS: list[tuple[str, str, Callable[..., Any]]] = [
    *((f"setp.{name}.{kind} %o0, %i0, %i1;", f"{kind} {kind}", function)
      for name, function in COMPARED.items() for kind in ("s32", "u64", "s16")),
    *((f"setp.{name}.{kind} %o0, %i0, %i1;", f"{kind} {kind}", ordered(function))
      for name, function in COMPARED.items() for kind in ("f32", "f16")),
    *((f"setp.{name}u.f32 %o0, %i0, %i1;", "f32 f32",
       lambda a, b, f=function: a != a or b != b or f(a, b)) for name, function in COMPARED.items()),
    ("setp.num.f32 %o0, %i0, %i1;", "f32 f32", lambda a, b: a == a and b == b),
    ("setp.nan.f32 %o0, %i0, %i1;", "f32 f32", lambda a, b: a != a or b != b),
    ("setp.lt.and.s32 %o0, %i0, %i1, %i2;", "s32 s32 pred", lambda a, b, p: a < b and p),
    ("setp.eq.b32 %p0|%o0, %i0, %i1;", "s32 s32", lambda a, b: a != b),
    ("setp.gt.f16x2 %o0|%p0, %i0, %i1;", "f16x2 f16x2", lambda a, b: a[0] > b[0]),
    ("setp.gt.f16x2 %p0|%o0, %i0, %i1;", "f16x2 f16x2", lambda a, b: a[1] > b[1]),
    ("setp.gt.bf16 %o0, %i0, %i1;", "bf16 bf16", lambda a, b: a > b),
]  # fmt: skip


@pytest.mark.parametrize(("line", "inputs", "function"), COMPARISONS, ids=[case[0] for case in COMPARISONS])
def test_comparisons(line: str, inputs: str, function: Callable[..., Any]) -> None:
    assert_computes(line, inputs, "pred", function)


SHUFFLED = {
    "idx.b32 %o0, %i0, 5, 31": lambda lane: 5,
    "bfly.b32 %o0, %i0, 16, 31": lambda lane: lane ^ 16,
    "up.b32 %o0, %i0, 3, 0": lambda lane: lane - 3 if lane >= 3 else lane,
    "down.b32 %o0, %i0, 4, 31": lambda lane: lane + 4 if lane + 4 < 32 else lane,
    "idx.b32 %o0, %i0, %i1, 31": lambda lane: (7 * lane + 2) % 32,
    "bfly.b32 %o0|%p0, %i0, 1, 0x1F": lambda lane: lane ^ 1,
    "idx.b32 %o0, %i0, 1, 0x181F": lambda lane: lane // 8 * 8 + 1,
}


@pytest.mark.parametrize("exchange", SHUFFLED)
def test_shuffles(exchange: str) -> None:
    values, lanes = patterns("u32", 1), [(7 * lane + 2) % 32 for lane in range(32)]
    result = run(f"shfl.sync.{exchange}, -1;", [("u32", values), ("u32", lanes)], "u32")
    assert result == [values[SHUFFLED[exchange](lane)] for lane in range(32)]


def test_an_unknown_opcode_is_named() -> None:
    for line, opcode in (("mul24.lo.s32 %o0, %i0, 3;", "mul24.lo.s32"), ("add.sat.s32 %o0, %i0, 3;", "add.sat.s32")):
        with pytest.raises(NotImplementedError, match=rf"snippet, PTX line \d+: unknown opcode {opcode} %o0, %i0, 3"):
            run(line, [("s32", patterns("s32", 0))], "s32")
