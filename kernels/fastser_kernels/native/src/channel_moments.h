// Mean and variance of channels, from parts that are merged in a fixed order (Chan, Golub and LeVeque 1983).
#pragma once

#include <cstdint>

#include "vectors.h"

namespace fastser {

// Number of values, mean and sum of squared deviations of one channel in one part of the maps.
struct Moments {
  double count = 0, mean = 0, deviations = 0;

  // Add values whose sums were taken about `pivot`, a value near their mean.
  void add(double number, double pivot, double sum, double squares) {
    if (number == 0) return;
    const double shift = sum / number;
    merge({number, pivot + shift, squares - sum * shift});
  }

  void merge(const Moments& other) {
    if (other.count == 0) return;
    const double total = count + other.count, difference = other.mean - mean;
    mean += difference * other.count / total;
    deviations += other.deviations + difference * difference * count * other.count / total;
    count = total;
  }

  double variance() const { return deviations < 0 || count == 0 ? 0 : deviations / count; }  // NaN stays NaN
};

// Sums of the deviations from a pivot and of their squares, over some hundred pixels in vector lanes.
template <class Real>
struct PivotedSums {
  Vector<Real> pivot = {}, sum = {}, squares = {};

  PivotedSums() = default;
  explicit PivotedSums(Vector<Real> near_mean) : pivot(near_mean) {}

  inline void add(Vector<Real> values) {
    const Vector<Real> deviation = values - pivot;
    sum += deviation;
    squares += deviation * deviation;
  }

  // Add the sums of `channels` lanes over `pixels` pixels to the moments of these channels.
  void add_to(Moments* moments, int channels, double pixels) const {
    for (int c = 0; c < channels; ++c) moments[c].add(pixels, pivot[c], sum[c], squares[c]);
  }
};

}  // namespace fastser
