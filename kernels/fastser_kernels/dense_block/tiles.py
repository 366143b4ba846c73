# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""Tiles of pixels, the bordered layout of a gradient, and fast divisions.

A tile is a box of `samples` x `rows` x `columns` pixels. The offsets inside a box are the same for all tiles, so a loop
over tiles computes a few scalars and no division for a pixel. Kernels add them as 32-bit numbers to the 64-bit place of
the first row.
"""

from functools import cache
from typing import NamedTuple

import triton
import triton.language as tl

LONGEST_ROW = 2**12
"""Largest F of maps whose tiles have more than one row, so that offsets inside a tile fit into 32 bits."""

TILE = (
    "columns", "rows", "samples", "tiles_f", "tiles_t", "column_multiplier", "column_shift", "row_multiplier",
    "row_shift", "f_multiplier", "f_shift", "t_multiplier", "t_shift",
)  # fmt: skip
"""Arguments of a kernel that describe its tiles: those of `Tiling.arguments`."""


class Tiling(NamedTuple):
    """A partition of maps `[N, C, T, F]` into `tiles` boxes of `samples` x `rows` x `columns` pixels."""

    samples: int
    rows: int
    columns: int
    tiles_t: int
    tiles_f: int
    tiles: int

    def arguments(self) -> dict[str, int]:
        """Return the arguments `TILE` of a kernel."""
        numbers = {"columns": self.columns, "rows": self.rows, "samples": self.samples}
        numbers |= {"tiles_f": self.tiles_f, "tiles_t": self.tiles_t}
        divisors = {"column": self.columns, "row": self.rows, "f": self.tiles_f, "t": self.tiles_t}
        for name, divisor in divisors.items():
            numbers[f"{name}_multiplier"], numbers[f"{name}_shift"] = inverse(divisor)
        return numbers

    def positions(self, T: int, F: int) -> int:
        """Return the number of positions of a bordered gradient that the windows of all tiles reach.

        It is a multiple of eight, so that groups of maps behind one another are aligned to 16 bytes.
        """
        samples = self.tiles // (self.tiles_t * self.tiles_f) * self.samples
        last = (samples * (T + 1) - T + self.tiles_t * self.rows - 2) * (F + 1) + self.tiles_f * self.columns - 1
        return -(-(last + 2 * (F + 2) + 1) // 8) * 8

    def reach(self, F: int, stride_n: int, stride_t: int, stride_f: int) -> int:
        """Return the largest distance of a value from the first one of the first row of its tile, without channels."""
        return (self.samples - 1) * stride_n + (self.rows - 1) * stride_t + (F - 1) * stride_f


@cache
def tiling(N: int, T: int, F: int, pixels: int) -> Tiling:
    """Return the partition into the fewest boxes of at most `pixels` pixels."""
    best = None
    for columns in range(min(F, pixels), 0, -1):
        rows = min(pixels // columns, T) if F <= LONGEST_ROW else 1
        samples = pixels // (columns * rows) if rows == T and columns == F else 1
        tiles_t, tiles_f = triton.cdiv(T, rows), triton.cdiv(F, columns)
        box = Tiling(samples, rows, columns, tiles_t, tiles_f, triton.cdiv(N, samples) * tiles_t * tiles_f)
        if best is None or box.tiles < best.tiles:
            best = box
    assert best is not None, "maps have at least one column"
    return best


def inverse(divisor: int) -> tuple[int, int]:
    """Return the multiplier, as a signed 32-bit number, and the shift with which `quotient` divides."""
    shift = (divisor - 1).bit_length()
    return -(-(2 ** (31 + shift)) // divisor) - 2**32, shift


@triton.jit
def quotient(number, multiplier, shift):
    """Return number // divisor for 0 <= number < 2^31, given the `inverse` of the divisor."""
    return (tl.umulhi(tl.cast(number, tl.uint32) * 2, multiplier.to(tl.uint32)) >> shift.to(tl.uint32)).to(tl.int32)


@triton.jit
def first_pixel(tile, columns, rows, samples, tiles_f, tiles_t, f_multiplier, f_shift, t_multiplier, t_shift):
    """Return n, t and f of the first pixel of a tile."""
    tile_row = quotient(tile, f_multiplier, f_shift)
    tile_sample = quotient(tile_row, t_multiplier, t_shift)
    return tile_sample * samples, (tile_row - tile_sample * tiles_t) * rows, (tile - tile_row * tiles_f) * columns


@triton.jit
def pixels_of_tile(
    columns, rows, samples, column_multiplier, column_shift, row_multiplier, row_shift, BP: tl.constexpr
):
    """Return sample, row and column of BP pixels of a tile, counted from its first one, and the three in one number.

    A pixel beyond the box has the place of the first one, so that its addresses are valid. Its packed number lies
    outside all maps.
    """
    i = tl.arange(0, BP)
    used = i < columns * rows * samples
    i = tl.where(used, i, 0)
    row = quotient(i, column_multiplier, column_shift)
    column = i - row * columns
    sample = quotient(row, row_multiplier, row_shift)
    row -= sample * rows
    return sample, row, column, tl.where(used, (sample << 20) | (row << 10) | column, 511)


@triton.jit
def lies_inside(packed, samples_left, rows_left, columns_left):
    """Return whether the pixels of `pixels_of_tile` lie inside maps of which so much is left from the first pixel on.

    Each of the three subtractions borrows from a bit of its own: a comparison of three instructions.
    """
    left = (tl.minimum(samples_left, 511) + 511) << 20
    left += (tl.minimum(rows_left, 511) + 511) << 10
    left += tl.minimum(columns_left, 511) + 511
    return ((left - packed) & 0x20080200) == 0x20080200
