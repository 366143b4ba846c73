// Batch normalisation of maps [pixel][channel] with channels in vector lanes: moments, constants, sums of gradients.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "channel_moments.h"
#include "parallel.h"
#include "vectors.h"

namespace fastser {

// Call step(first channel, lanes) for each vector of channels. `lanes` is a constant but for an incomplete vector.
template <class Real, class Step>
__attribute__((always_inline)) inline void for_vectors(int64_t channels, Step step) {
  constexpr int length = kLanes<Real>;
  int64_t c = 0;
  for (; c + length <= channels; c += length) step(c, std::integral_constant<int, length>{});
  if (c < channels) step(c, static_cast<int>(channels - c));
}

// Call step(first channel, vectors, lanes) for groups of vectors whose sums fit into registers.
template <class Real, int Most, class Step>
__attribute__((always_inline)) inline void for_groups(int64_t channels, Step step) {
  constexpr int length = kLanes<Real>;
  constexpr std::integral_constant<int, length> full{};
  int64_t c = 0;
  for (; c + Most * length <= channels; c += Most * length) step(c, std::integral_constant<int, Most>{}, full);
  for (; c + length <= channels; c += length) step(c, std::integral_constant<int, 1>{}, full);
  if (c < channels) step(c, std::integral_constant<int, 1>{}, static_cast<int>(channels - c));
}

constexpr int64_t kSummed = 256;  // most values of a channel that are added in float

// Number of values of all channels, with their means and sums of squared deviations.
struct MapMoments {
  double count = 0;
  double *mean, *deviations;  // [channel]

  // Add the moments of pixels [pixel][channel].
  template <class Stored>
  void add(const Stored* maps, int64_t pixels, int64_t channels) {
    for (int64_t first = 0; first < pixels; first += kSummed)
      add_block(maps + first * channels, std::min(kSummed, pixels - first), channels);
  }

  template <class Stored>
  void add_block(const Stored* maps, int64_t pixels, int64_t channels) {
    using Real = Exact<Stored>;
    constexpr int length = kLanes<Real>, most = kRegisters == 32 ? 4 : 2;
    const double number = static_cast<double>(pixels), total = count + number;
    const double weight = number / total, of_difference = count * weight, one = 1 / number;
    for_groups<Real, most>(channels, [&](int64_t c, auto vectors, auto lanes) {
      constexpr int kVectors = decltype(vectors)::value;
      PivotedSums<Real> sums[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        Vector<Real> pivot = load(maps + c + v * length, lanes);
        for (int i = 0; count > 0 && i < lanes; ++i) pivot[i] = static_cast<Real>(mean[c + v * length + i]);
        sums[v] = PivotedSums<Real>(pivot);
      }
      for (int64_t p = 0; p < pixels; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[v].add(load(maps + p * channels + c + v * length, lanes));
      for (int v = 0; v < kVectors; ++v) {
        Real pivots[length], sum[length], squares[length];
        store(pivots, sums[v].pivot), store(sum, sums[v].sum), store(squares, sums[v].squares);
        for (int i = 0; i < lanes; ++i) {  // Chan's formula
          double& own = mean[c + v * length + i];
          const double shift = sum[i] * one, difference = pivots[i] + shift - own;
          deviations[c + v * length + i] += squares[i] - sum[i] * shift + difference * difference * of_difference;
          own += difference * weight;
        }
      }
    });
    count = total;
  }
};

// Constants of a normalised and rectified map: z = scale x + shift. The others are those of its gradient.
template <class Real>
struct NormConstants {
  Real *scale, *shift, *mean, *rstd;
  Real *share, *slope, *offset;  // dx = share dz + slope (x - mean) + offset

  static constexpr int kNumber = 7;

  NormConstants(Real* memory, int64_t stride)
      : scale(memory), shift(memory + stride), mean(memory + 2 * stride), rstd(memory + 3 * stride),
        share(memory + 4 * stride), slope(memory + 5 * stride), offset(memory + 6 * stride) {}

  // Set the constants of one channel.
  void set(int64_t c, Real average, Real variance, Real weight, Real bias, double eps) {
    mean[c] = average;
    rstd[c] = static_cast<Real>(1 / __builtin_sqrt(static_cast<double>(variance) + eps));
    scale[c] = rstd[c] * weight;
    shift[c] = bias - average * scale[c];
  }

  // Set the constants of the gradient: `by` is the weight of a result's gradient in dz.
  void set_gradient(int64_t c, double by, double sum_dz, double sum_dz_xhat, double count) {
    share[c] = static_cast<Real>(scale[c] * by);
    slope[c] = static_cast<Real>(-scale[c] * rstd[c] * sum_dz_xhat / count);
    offset[c] = static_cast<Real>(-scale[c] * sum_dz / count);
  }
};

}  // namespace fastser
