// Products of a few rows, such as the samples of a batch, with a matrix that is packed once per call.
//
// The packed matrix consists of panels [depth][Vectors][lanes], each for `Vectors` vectors of columns. A row is read
// from memory as it is: a cell is one value, or for bfloat16 products two neighbours (outer_product.h).
#pragma once

#include <type_traits>

#include "outer_product.h"
#include "transpose.h"

namespace fastser {

// Type of the values in the rows, of which a cell holds `Product::kDepth`.
template <class Product>
using Factor = std::conditional_t<Product::kDepth == 2, Bfloat16, typename Product::Sum>;

// Number of values rounded up to whole vectors.
template <class Real>
inline int64_t padded(int64_t values) {
  return (values + kLanes<Real> - 1) / kLanes<Real> * kLanes<Real>;
}

// Number of cells along the summed axis.
template <class Product>
inline int64_t depth_of(int64_t values) {
  return (values + Product::kDepth - 1) / Product::kDepth;
}

// Largest number of rows in a tile: as many as fit in the registers with the vectors and a scalar.
template <int Vectors>
constexpr int kTileRows = (kRegisters - Vectors - 2) / Vectors < 8 ? (kRegisters - Vectors - 2) / Vectors : 8;

// Pack one vector of columns of transposed matrices: lane j holds row `first + j` of a matrix [rows][columns].
// With several matrices, the panel has one vector for each of them.
template <class Product, int Number, class Stored>
void pack_transposed(typename Product::Cell* panel, const Stored* const (&matrices)[Number], int64_t rows,
                     int64_t columns, int64_t first) {
  using Real = typename Product::Sum;
  constexpr int lanes = kLanes<Real>;
  for (int m = 0; m < Number; ++m)
    for (int64_t k = 0; k < columns; k += lanes) {
      const int count = columns - k < lanes ? static_cast<int>(columns - k) : lanes;
      Vector<Real> square[lanes];
#pragma GCC unroll 16
      for (int j = 0; j < lanes; ++j)
        square[j] = first + j < rows ? load(matrices[m] + (first + j) * columns + k, count) : zeros<Real>();
      transpose<Real>(square);
      for (int i = 0; i < count; i += Product::kDepth)
        Product::store(panel + ((k + i) / Product::kDepth * Number + m) * lanes, square + i);
    }
}

// Pack columns `first` and following of a matrix [rows][columns] into one panel of `Vectors` vectors.
template <class Product, int Vectors, class Stored>
void pack(typename Product::Cell* panel, const Stored* matrix, int64_t rows, int64_t columns, int64_t first) {
  using Real = typename Product::Sum;
  constexpr int lanes = kLanes<Real>;
  for (int64_t k = 0; k < rows; k += Product::kDepth)
    for (int v = 0; v < Vectors; ++v, panel += lanes) {
      const int64_t column = first + v * lanes, left = columns - column;
      const int count = left < 0 ? 0 : (left < lanes ? static_cast<int>(left) : lanes);
      Vector<Real> values[Product::kDepth];
      for (int i = 0; i < Product::kDepth; ++i)
        values[i] = k + i < rows ? load(matrix + (k + i) * columns + column, count) : zeros<Real>();
      Product::store(panel, values);
    }
}

// Store the sums of a tile. Only constant indices keep a tile in registers, so read the copy in loops.
template <class Product, int Rows, int Vectors>
__attribute__((always_inline)) inline void store_sums(const Tile<Product, Rows, Vectors>& tile,
                                                      typename Product::Sum* sums, int64_t stride) {
#pragma GCC unroll 8
  for (int s = 0; s < Rows; ++s)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v)
      store_exact(sums + s * stride + v * kLanes<typename Product::Sum>, tile.sums[s][v]);
}

// Store the products of rows with a panel; `sums` and `rows` have rows `sums_stride` and `stride` values apart.
// It is a function of its own because the constants of a caller's arithmetic would take the registers of the tile.
template <class Product, int Rows, int Vectors>
__attribute__((noinline)) void multiply(typename Product::Sum* sums, int64_t sums_stride, const Factor<Product>* rows,
                                        int64_t stride, const typename Product::Cell* panel, int64_t depth) {
  using Cell = typename Product::Cell;
  Tile<Product, Rows, Vectors> tile;
  tile.clear();
  for (int64_t k = 0; k < depth; ++k, rows += Product::kDepth, panel += Vectors * kLanes<typename Product::Sum>) {
    Cell cells[Rows];
#pragma GCC unroll 8
    for (int s = 0; s < Rows; ++s) std::memcpy(cells + s, rows + s * stride, sizeof(Cell));
    tile.add(panel, cells);
  }
  store_sums(tile, sums, sums_stride);
}

// Split rows into tiles of about equal size and call `run(first, rows)`; `rows` is a compile-time constant.
template <int Most, class Run>
inline void for_tile_of(int64_t first, int64_t rows, Run run) {
  if constexpr (Most > 0) {
    if (rows == Most) return run(first, std::integral_constant<int, Most>{});
    for_tile_of<Most - 1>(first, rows, run);
  }
}
template <int Most, class Run>
inline void for_tiles(int64_t begin, int64_t end, Run run) {
  for (int64_t tiles = (end - begin + Most - 1) / Most; tiles > 0; --tiles) {
    const int64_t rows = (end - begin + tiles - 1) / tiles;
    for_tile_of<Most>(begin, rows, run);
    begin += rows;
  }
}

}  // namespace fastser
