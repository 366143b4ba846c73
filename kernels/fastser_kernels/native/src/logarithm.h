// Logarithm of vectors.
#pragma once

#include "vectors.h"

namespace fastser {

// Return log2(v) to about one unit in the last place: -inf for 0, NaN for negative numbers.
// Source of the polynomial of log(1 + x), |x| <= sqrt(2) - 1: Cephes, logf.
inline Vector<float> log2(Vector<float> v) {
  using V = Vector<float>;
  using Bits = VectorOf<float>::Bits;
  constexpr float kSmallestNormal = 1.17549435e-38f, kInfinity = __builtin_inff(), kLog2E = 1.44269504f;
  const auto tiny = v < kSmallestNormal;
  const V scaled = tiny ? v * 8388608.0f : v;  // 2^23
  const Bits bits = (Bits)scaled;
  const Bits exponent = (bits - 0x3f3504f3) >> 23;  // of the multiple of sqrt(1/2) below
  const V x = (V)(bits - (exponent << 23)) - 1.0f;
  V p = x * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * x + 1.1676998740e-1f;
  p = p * x - 1.2420140846e-1f;
  p = p * x + 1.4249322787e-1f;
  p = p * x - 1.6668057665e-1f;
  p = p * x + 2.0000714765e-1f;
  p = p * x - 2.4999993993e-1f;
  p = p * x + 3.3333331174e-1f;
  const V square = x * x;
  const V natural = x + (p * (square * x) - 0.5f * square);
  const V whole = __builtin_convertvector(exponent, V) - (tiny ? V{} + 23.0f : V{});
  const V result = natural * kLog2E + whole;
  const V special = v == 0 ? V{} - kInfinity : (v > 0 ? v : V{} + __builtin_nanf(""));
  return v > 0 && v < kInfinity ? result : special;
}

inline Vector<double> log2(Vector<double> v) {
  for (int lane = 0; lane < kLanes<double>; ++lane) v[lane] = __builtin_log2(v[lane]);
  return v;
}

}  // namespace fastser
