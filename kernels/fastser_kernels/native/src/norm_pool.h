// BN and ReLU of maps, then the mean of each cell of Side x Side pixels. The formulas stand in transition/op.py.
//
// Maps lie as [image][row][column][channel]. With Side = 1 the results are the maps themselves. A stripe is Side rows of
// one image. An incomplete stripe or column of cells has no result. It is part of the statistics only.
#pragma once

#include "batch_norm.h"
#include "calls.h"

namespace fastser {

struct MapSizes {
  int64_t images, rows, columns, channels;

  int64_t pixels() const { return images * rows * columns; }
};

// Memory of all threads, and the parameters that both directions read.
template <class Stored, int Side>
struct NormPool {
  using Map = Stored;
  using Real = Exact<Stored>;
  using V = Vector<Real>;
  static constexpr int kLength = kLanes<Real>;
  static constexpr int kGroup = kRegisters == 32 ? 4 : 1;  // vectors of channels whose sums stay in registers

  MapSizes sizes;
  const Real *bn_weight, *bn_bias, *running_mean, *running_var;
  bool training;
  double eps;
  int threads;
  int64_t stride = 0;        // of one vector of all channels
  Memory<double> sums;       // [thread][2][stride]: moments, or sums of gradients
  Memory<double> counts;     // [thread]
  Memory<Real> constants;    // [thread][NormConstants::kVectors][stride]

  bool allocate_all() {
    stride = (sizes.channels + 15) / 16 * 16;
    sums = allocate<double>(2 * stride * threads);
    counts = allocate<double>(threads);
    constants = allocate<Real>(NormConstants<Real>::kNumber * stride * threads);
    return sums && counts && constants;
  }

  int64_t stripes_of_image() const { return (sizes.rows + Side - 1) / Side; }
  Range stripes(int thread, int team) const { return share(sizes.images * stripes_of_image(), thread, team); }
  int64_t first_pixel(int64_t stripe) const {
    const int64_t image = stripe / stripes_of_image(), row = stripe % stripes_of_image() * Side;
    return (image * sizes.rows + row) * sizes.columns;
  }
  double* sum_of(int thread, int which) { return sums.get() + (2 * thread + which) * stride; }
  NormConstants<Real> constants_of(int thread) {
    return {constants.get() + NormConstants<Real>::kNumber * stride * thread, stride};
  }

  // Normalise by given statistics.
  void set(NormConstants<Real>& own, const Real* mean, const Real* var) const {
    for (int64_t c = 0; c < sizes.channels; ++c) own.set(c, mean[c], var[c], bn_weight[c], bn_bias[c], eps);
  }

  // Normalise by the moments of all threads, merged in their order.
  void merge_moments(NormConstants<Real>& own, int team, Real* mean, Real* var) {
    for (int64_t c = 0; c < sizes.channels; ++c) {
      Moments all;
      for (int t = 0; t < team; ++t) all.merge({counts[t], sum_of(t, 0)[c], sum_of(t, 1)[c]});
      const Real average = static_cast<Real>(all.mean), variance = static_cast<Real>(all.variance());
      own.set(c, average, variance, bn_weight[c], bn_bias[c], eps);
      if (mean) mean[c] = average, var[c] = variance;
    }
  }

  // ---- Forward ----

  void forward(const Stored* x, Stored* pooled, Real* mean, Real* var, int thread, int team) {
    NormConstants<Real> own = constants_of(thread);
    const Range range = stripes(thread, team);
    if (training) {
      MapMoments moments{0, sum_of(thread, 0), sum_of(thread, 1)};
      std::fill_n(moments.mean, 2 * stride, 0.0);
      const int64_t first = first_pixel(range.begin), end = first_pixel(range.end);
      moments.add(x + first * sizes.channels, end - first, sizes.channels);
      counts[thread] = moments.count;
      if (team > 1) barrier();
      merge_moments(own, team, thread == 0 ? mean : nullptr, var);
    } else {
      set(own, running_mean, running_var);
    }
    for (int64_t stripe = range.end; stripe-- > range.begin;)  // backwards: the cache holds the last ones
      if (stripe % stripes_of_image() < sizes.rows / Side) pool(x, pooled, own, stripe);
  }

  // Write the results of one complete stripe.
  void pool(const Stored* x, Stored* pooled, const NormConstants<Real>& own, int64_t stripe) const {
    const int64_t channels = sizes.channels, results = sizes.columns / Side;
    const int64_t image = stripe / stripes_of_image(), row = stripe % stripes_of_image();
    const Stored* from = x + first_pixel(stripe) * channels;
    Stored* to = pooled + (image * (sizes.rows / Side) + row) * results * channels;
    for (int64_t f = 0; f < results; ++f, from += Side * channels, to += channels)
      for_vectors<Real>(channels, [&](int64_t c, auto lanes) {
        const V scale = load(own.scale + c), shift = load(own.shift + c);
        V sum = {};
        for (int i = 0; i < Side; ++i)
          for (int j = 0; j < Side; ++j)
            sum += relu(load(from + (i * sizes.columns + j) * channels + c, lanes) * scale + shift);
        store(to + c, sum * static_cast<Real>(1.0 / (Side * Side)), lanes);
      });
  }

  // ---- Backward ----

  // Gradient of the results, with its strides in values. One of zero repeats it.
  struct Gradient {
    const Stored* values;
    int64_t of_image, of_row, of_column;
  };

  // grad_weight and grad_bias are null if they are not wanted.
  void backward(Gradient grad, const Stored* x, const Real* mean, const Real* var, Stored* grad_x, Real* grad_weight,
                Real* grad_bias, int thread, int team) {
    NormConstants<Real> own = constants_of(thread);
    const Range range = stripes(thread, team);
    set(own, training ? mean : running_mean, training ? var : running_var);
    constexpr double by = 1.0 / (Side * Side);
    const bool summed = training || grad_weight;
    if (summed) {
      std::fill_n(sum_of(thread, 0), 2 * stride, 0.0);
      for (int64_t stripe = range.begin; stripe < range.end; ++stripe) add_gradients(grad, x, own, stripe, thread);
      if (team > 1) barrier();
    }
    for (int64_t c = 0; c < sizes.channels; ++c) {
      double dz = 0, dz_xhat = 0;
      for (int t = 0; summed && t < team; ++t) dz += sum_of(t, 0)[c], dz_xhat += sum_of(t, 1)[c];
      dz *= by, dz_xhat *= by * own.rstd[c];
      own.set_gradient(c, by, dz, dz_xhat, static_cast<double>(std::max<int64_t>(sizes.pixels(), 1)));
      if (grad_weight && thread == 0) grad_weight[c] = static_cast<Real>(dz_xhat), grad_bias[c] = static_cast<Real>(dz);
    }
    for (int64_t stripe = range.end; stripe-- > range.begin;) {
      if (training) spread<true>(grad, x, own, grad_x, stripe);
      else spread<false>(grad, x, own, grad_x, stripe);
    }
  }

  const Stored* gradient_of(const Gradient& grad, int64_t stripe) const {
    return grad.values + stripe / stripes_of_image() * grad.of_image + stripe % stripes_of_image() * grad.of_row;
  }

  // Add the sums of dz and dz (x - mean) of one stripe, where dz counts Side * Side times.
  void add_gradients(const Gradient& grad, const Stored* x, const NormConstants<Real>& own, int64_t stripe, int thread) {
    if (stripe % stripes_of_image() >= sizes.rows / Side) return;
    const int64_t channels = sizes.channels, results = sizes.columns / Side;
    const Stored* from = x + first_pixel(stripe) * channels;
    const Stored* g = gradient_of(grad, stripe);
    constexpr int64_t block = kSummed / (Side * Side);
    for (int64_t first = 0; first < results; first += block) {
      const int64_t end = std::min(first + block, results);
      for_groups<Real, kGroup>(channels, [&](int64_t c, auto vectors, auto lanes) {
        constexpr int kVectors = decltype(vectors)::value;
        V scale[kVectors], shift[kVectors], mean[kVectors], dz[kVectors], dz_x[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const int64_t at = c + v * kLength;
          scale[v] = load(own.scale + at), shift[v] = load(own.shift + at), mean[v] = load(own.mean + at);
          dz[v] = V{}, dz_x[v] = V{};
        }
        for (int64_t f = first; f < end; ++f)
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            const V all = load(g + f * grad.of_column + c + v * kLength, lanes);
            const Stored* corner = from + f * Side * channels + c + v * kLength;
            for (int i = 0; i < Side; ++i)
              for (int j = 0; j < Side; ++j) {
                const V values = load(corner + (i * sizes.columns + j) * channels, lanes);
                const V part = values * scale[v] + shift[v] <= 0 ? V{} : all;
                dz[v] += part;
                dz_x[v] += part * (values - mean[v]);
              }
          }
        for (int v = 0; v < kVectors; ++v) {
          Real plain[kLength], by_x[kLength];
          store(plain, dz[v]), store(by_x, dz_x[v]);
          double *sum = sum_of(thread, 0) + c + v * kLength, *sum_x = sum_of(thread, 1) + c + v * kLength;
          for (int i = 0; i < lanes; ++i) sum[i] += plain[i], sum_x[i] += by_x[i];
        }
      });
    }
  }

  // Write the gradient of one stripe. Pixels without a result get that of the statistics.
  template <bool Training>
  void spread(const Gradient& grad, const Stored* x, const NormConstants<Real>& own, Stored* grad_x, int64_t stripe) const {
    const int64_t channels = sizes.channels, columns = sizes.columns, row = stripe % stripes_of_image() * Side;
    const int64_t first = first_pixel(stripe) * channels, line = columns * channels;
    const int64_t results = row / Side < sizes.rows / Side ? columns / Side : 0;
    const Stored* g = gradient_of(grad, stripe);
    const auto by_statistics = [&](int64_t at, int64_t c, auto lanes) {
      return load(own.offset + c) + load(own.slope + c) * (load(x + at, lanes) - load(own.mean + c));
    };
    for (int64_t f = 0; f < results; ++f, g += grad.of_column)
      for_vectors<Real>(channels, [&](int64_t c, auto lanes) {
        const V scale = load(own.scale + c), shift = load(own.shift + c);
        const V given = load(g + c, lanes) * load(own.share + c);
        for (int i = 0; i < Side; ++i)
          for (int j = 0; j < Side; ++j) {
            const int64_t at = first + i * line + (f * Side + j) * channels + c;
            V dx = load(x + at, lanes) * scale + shift <= 0 ? V{} : given;
            if constexpr (Training) dx += by_statistics(at, c, lanes);
            store(grad_x + at, dx, lanes);
          }
      });
    for (int64_t i = 0; i < Side && row + i < sizes.rows; ++i)
      for (int64_t f = results * Side; f < columns; ++f)
        for_vectors<Real>(channels, [&](int64_t c, auto lanes) {
          const int64_t at = first + i * line + f * channels + c;
          if constexpr (Training) store(grad_x + at, by_statistics(at, c, lanes), lanes);
          else store(grad_x + at, V{}, lanes);
        });
  }
};

}  // namespace fastser
