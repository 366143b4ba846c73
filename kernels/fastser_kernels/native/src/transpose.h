// Transposition of a square of lanes x lanes values in registers.
#pragma once

#include <utility>

#include "vectors.h"

namespace fastser {

template <class V, size_t... Lane>
__attribute__((always_inline)) inline V zip_low(V a, V b, std::index_sequence<Lane...>) {
  constexpr int n = sizeof...(Lane);
  return __builtin_shufflevector(a, b, (Lane % 2 ? n + static_cast<int>(Lane) / 2 : static_cast<int>(Lane) / 2)...);
}
template <class V, size_t... Lane>
__attribute__((always_inline)) inline V zip_high(V a, V b, std::index_sequence<Lane...>) {
  constexpr int n = sizeof...(Lane);
  return __builtin_shufflevector(
      a, b, (n / 2 + (Lane % 2 ? n + static_cast<int>(Lane) / 2 : static_cast<int>(Lane) / 2))...);
}

// Transpose the square whose rows are `rows`, by log2(lanes) perfect shuffles.
template <class Real>
__attribute__((always_inline)) inline void transpose(Vector<Real> (&rows)[kLanes<Real>]) {
  constexpr int n = kLanes<Real>;
  constexpr auto lanes = std::make_index_sequence<n>{};
#pragma GCC unroll 4
  for (int round = 1; round < n; round *= 2) {
    Vector<Real> next[n];
#pragma GCC unroll 8
    for (int i = 0; i < n / 2; ++i) {
      next[2 * i] = zip_low(rows[i], rows[i + n / 2], lanes);
      next[2 * i + 1] = zip_high(rows[i], rows[i + n / 2], lanes);
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) rows[i] = next[i];
  }
}

}  // namespace fastser
