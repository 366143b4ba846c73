"""Matrix products and loads of the PTX machine, with the layouts of the PTX manual written element by element."""

import struct

import numpy as np
import pytest
from ptx_machine.snippets import decoded, encoded, patterns, run

pytestmark = pytest.mark.ptx

LANES = range(32)


def _words(matrix: np.ndarray, places: list[list[list[tuple[int, int]]]], kind: str) -> list[list[int]]:
    """Return the registers of all lanes that hold elements of a matrix, given their places by register and lane."""
    size = 32 if kind == "tf32" else 16
    encode = "f32" if kind == "tf32" else kind
    return [
        [
            sum(encoded(float(matrix[place]), encode) << (size * i) for i, place in enumerate(elements))
            for elements in register
        ]
        for register in places
    ]


@pytest.mark.parametrize(
    ("kind", "depth"), [("f16", 16), ("bf16", 16), ("f16", 8), ("bf16", 8), ("tf32", 8), ("tf32", 4)]
)
def test_matrix_products(kind: str, depth: int) -> None:
    random = np.random.default_rng(0)
    a, b = (random.integers(-8, 9, shape) / 4 for shape in ((16, depth), (depth, 8)))
    c = random.integers(-8, 9, (16, 8)).astype(float)
    each = 1 if kind == "tf32" else 2  # elements of a register
    group, quad = [lane // 4 for lane in LANES], [lane % 4 for lane in LANES]
    across = depth // (4 * each)
    places_a = [
        [[(group[t] + 8 * half, each * (quad[t] + 4 * k) + i) for i in range(each)] for t in LANES]
        for k in range(across)
        for half in range(2)
    ]
    places_b = [[[(each * (quad[t] + 4 * k) + i, group[t]) for i in range(each)] for t in LANES] for k in range(across)]
    places_c = [(lambda t, i=i: (group[t] + 8 * (i // 2), 2 * quad[t] + i % 2)) for i in range(4)]
    inputs = [("u32", words) for words in (*_words(a, places_a, kind), *_words(b, places_b, kind))]
    inputs += [("f32", [encoded(c[place(t)], "f32") for t in LANES]) for place in places_c]
    first, second = len(places_a), len(places_a) + len(places_b)
    names = [f"%i{i}" for i in range(len(inputs))]
    operands = ", ".join(f"{{ {', '.join(part)} }}" for part in (names[:first], names[first:second], names[second:]))
    for i, place in enumerate(places_c):
        opcode = f"mma.sync.aligned.m16n8k{depth}.row.col.f32.{kind}.{kind}.f32"
        line = f"{opcode} {{ %w0, %w1, %w2, %w3 }}, {operands}; mov.b32 %o0, %w{i};"
        assert [decoded(raw, "f32") for raw in run(line, inputs, "f32")] == [(a @ b + c)[place(t)] for t in LANES]


def test_tf32_products_ignore_the_low_bits() -> None:
    third = encoded(1 / 3, "f32")
    inputs = [("u32", [third] * 32)] * 6
    operands = "{%i0, %i1, %i2, %i3}, {%i4, %i5}, {%z, %z, %z, %z}"
    line = (
        ".reg .b32 %z; mov.b32 %z, 0; mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        f"{{%w0, %w1, %w2, %w3}}, {operands}; mov.b32 %o0, %w0;"
    )
    cut = struct.unpack("<f", struct.pack("<I", third & 0xFFFFE000))[0]
    assert {decoded(raw, "f32") for raw in run(line, inputs, "f32")} == {8 * cut * cut}


@pytest.mark.parametrize("transposed", [False, True], ids=["as stored", "transposed"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_matrix_loads(count: int, transposed: bool) -> None:
    rows = [patterns("u32", seed) for seed in range(4)]  # word, lane: each lane stores one row of 16 bytes
    halves = [[rows[i // 2][lane] >> 16 * (i % 2) & 0xFFFF for i in range(8)] for lane in LANES]
    names = ", ".join(f"%w{i}" for i in range(count))
    for i in range(count):
        result = run(
            "shl.b32 %w5, %t0, 4; mov.b32 %w6, global_smem; add.s32 %w5, %w5, %w6; "
            "st.shared.v4.b32 [%w5 + 0], {%i0, %i1, %i2, %i3}; bar.sync 0; "
            f"ldmatrix.sync.aligned.m8n8.x{count}{'.trans' if transposed else ''}.shared.b16 {{{names}}}, [%w5+0]; "
            f"mov.b32 %o0, %w{i};",
            [("u32", words) for words in rows],
            "u32",
            shared=512,
        )
        for lane in LANES:
            group, quad = lane // 4, lane % 4
            matrix = halves[8 * i : 8 * i + 8]
            pair = [(2 * quad + j, group) if transposed else (group, 2 * quad + j) for j in range(2)]
            assert result[lane] == sum(matrix[row][column] << 16 * j for j, (row, column) in enumerate(pair))
