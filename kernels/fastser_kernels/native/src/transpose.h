// Transposition of a square of lanes x lanes values in registers.
//
// A register is some blocks of 16 bytes, inside which values are cheap to move. So the blocks are transposed first, and
// then the values inside them.
#pragma once

#include <utility>

#include "vectors.h"

namespace fastser {

// Return the lanes of `a` and, from `n` on, `b` that `Choice::lane(lane of the result)` names.
template <class Choice, class V, size_t... Lane>
__attribute__((always_inline)) inline V choose(V a, V b, std::index_sequence<Lane...>) {
  return __builtin_shufflevector(a, b, Choice::lane(static_cast<int>(Lane))...);
}

// Choices of items of `Size` lanes out of two vectors of `Lanes` lanes: their first or their last halves end to end, every
// other item, and neighbours in pairs, inside each group of `Group` lanes. `High` chooses the other half of them.
template <int Lanes, int Size, int High>
struct Halves {
  static constexpr int lane(int i) { return (i < Lanes / 2 ? i : Lanes + i - Lanes / 2) + High * Lanes / 2; }
};
template <int Lanes, int Size, int High>
struct EveryOther {
  static constexpr int lane(int i) { return (2 * (i / Size) + High) * Size + i % Size; }
};
template <int Lanes, int Size, int Group, int High>
struct Pairs {
  static constexpr int lane(int i) {
    const int item = i % Group / Size, vector = item % 2, place = item / 2 + High * (Group / Size / 2);
    return vector * Lanes + i / Group * Group + place * Size + i % Size;
  }
};

// Transpose the square whose rows are `rows`.
template <class Real>
__attribute__((always_inline)) inline void transpose(Vector<Real> (&rows)[kLanes<Real>]) {
  using V = Vector<Real>;
  constexpr int n = kLanes<Real>, block = 16 / static_cast<int>(sizeof(Real)), blocks = n / block;
  constexpr auto all = std::make_index_sequence<n>{};
  V columns[n];  // [block][row in a block]
#pragma GCC unroll 4
  for (int j = 0; j < block; ++j) {
    if constexpr (blocks == 1) {
      columns[j] = rows[j];
    } else if constexpr (blocks == 2) {
      columns[j] = choose<Halves<n, block, 0>>(rows[j], rows[j + block], all);
      columns[j + block] = choose<Halves<n, block, 1>>(rows[j], rows[j + block], all);
    } else {
      static_assert(blocks == 4);
      const V a = choose<Halves<n, block, 0>>(rows[j], rows[j + block], all);
      const V b = choose<Halves<n, block, 1>>(rows[j], rows[j + block], all);
      const V c = choose<Halves<n, block, 0>>(rows[j + 2 * block], rows[j + 3 * block], all);
      const V d = choose<Halves<n, block, 1>>(rows[j + 2 * block], rows[j + 3 * block], all);
      columns[j] = choose<EveryOther<n, block, 0>>(a, c, all);
      columns[j + block] = choose<EveryOther<n, block, 1>>(a, c, all);
      columns[j + 2 * block] = choose<EveryOther<n, block, 0>>(b, d, all);
      columns[j + 3 * block] = choose<EveryOther<n, block, 1>>(b, d, all);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < n; i += block) {
    if constexpr (block == 2) {
      rows[i] = choose<Pairs<n, 1, 2, 0>>(columns[i], columns[i + 1], all);
      rows[i + 1] = choose<Pairs<n, 1, 2, 1>>(columns[i], columns[i + 1], all);
    } else {
      const V a = choose<Pairs<n, 1, 4, 0>>(columns[i], columns[i + 1], all);
      const V b = choose<Pairs<n, 1, 4, 1>>(columns[i], columns[i + 1], all);
      const V c = choose<Pairs<n, 1, 4, 0>>(columns[i + 2], columns[i + 3], all);
      const V d = choose<Pairs<n, 1, 4, 1>>(columns[i + 2], columns[i + 3], all);
      rows[i] = choose<Pairs<n, 2, 4, 0>>(a, c, all);
      rows[i + 1] = choose<Pairs<n, 2, 4, 1>>(a, c, all);
      rows[i + 2] = choose<Pairs<n, 2, 4, 0>>(b, d, all);
      rows[i + 3] = choose<Pairs<n, 2, 4, 1>>(b, d, all);
    }
  }
}

}  // namespace fastser
