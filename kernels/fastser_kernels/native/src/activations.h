// Sigmoid and hyperbolic tangent of vectors. NaN stays NaN.
#pragma once

#include <cmath>

#include "vectors.h"

namespace fastser {

// e^x = scale (1 + rest). The rest keeps its digits where e^x is near 1.
struct Exponential {
  Vector<float> scale, rest;
};

// Return e^x to about one unit in the last place, for x from -87 to 88: x = n ln 2 + r, and a Taylor series of e^r - 1.
inline Exponential exponential(Vector<float> x) {
  using Bits = VectorOf<float>::Bits;
  const Vector<float> to_integer = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vector<float> shifted = x * 1.44269504f + to_integer;
  const Vector<float> n = shifted - to_integer;
  const Vector<float> r = x - n * 0x1.62e4p-1f - n * 1.42860682e-6f;  // ln 2 in two parts; the first product is exact
  const Vector<float> series =
      0.5f + r * (1 / 6.0f + r * (1 / 24.0f + r * (1 / 120.0f + r * (1 / 720.0f + r * (1 / 5040.0f)))));
  return {(Vector<float>)(((Bits)shifted - (Bits)to_integer + 127) << 23), r + r * r * series};
}

inline Vector<float> sigmoid(Vector<float> x) {
  const Exponential e = exponential(clamp(-x, broadcast(-87.0f), broadcast(88.0f)));
  const Vector<float> result = 1.0f / (1.0f + (e.scale + e.scale * e.rest));
  return x < -88.0f ? Vector<float>{} : result;
}

// tanh |x| = -d / (d + 2) with d = e^(-2|x|) - 1
inline Vector<float> hyperbolic_tangent(Vector<float> x) {
  const Vector<float> negative = x < 0 ? x : -x;
  const Exponential e = exponential(clamp(2.0f * negative, broadcast(-87.0f), broadcast(0.0f)));
  const Vector<float> d = (e.scale - 1.0f) + e.scale * e.rest;
  const Vector<float> ratio = d / (d + 2.0f);
  return x < 0 ? ratio : -ratio;
}

inline Vector<double> sigmoid(Vector<double> x) {
  for (int lane = 0; lane < kLanes<double>; ++lane) x[lane] = 1 / (1 + std::exp(-x[lane]));
  return x;
}

inline Vector<double> hyperbolic_tangent(Vector<double> x) {
  for (int lane = 0; lane < kLanes<double>; ++lane) x[lane] = std::tanh(x[lane]);
  return x;
}

}  // namespace fastser
