// Discrete Fourier transforms of many signals at once: each lane of a vector belongs to a signal of its own.
//
// A complex signal is [index][real, imaginary] of vectors. It is transformed in place, by decimation in frequency with
// mixed radices (Cooley and Tukey 1965). Bin k then lies at `position(k)`.
#pragma once

#include <cstdint>
#include <utility>

#include "parallel.h"
#include "vectors.h"

namespace fastser {

template <class V>
struct Complex {
  V re, im;

  inline Complex operator+(Complex other) const { return {re + other.re, im + other.im}; }
  inline Complex operator-(Complex other) const { return {re - other.re, im - other.im}; }
  inline Complex conjugate() const { return {re, -im}; }
  inline Complex quarter_turn() const { return {-im, re}; }  // times i
  inline Complex quarter_turn_back() const { return {im, -re}; }
  template <class Factor>
  inline Complex times(Factor real, Factor imaginary) const {
    return {re * real - im * imaginary, im * real + re * imaginary};
  }
};

// Powers of exp(-2 pi i / period), [power][real, imaginary].
template <class Real>
struct Roots {
  const Real* values;
  int64_t period;

  inline Real re(int64_t power) const { return values[2 * power]; }
  inline Real im(int64_t power) const { return values[2 * power + 1]; }
};

template <class Real>
class Fourier {
  using V = Vector<Real>;
  using C = Complex<V>;
  static constexpr int64_t kCacheBytes = 16 * 1024;  // of parts that are transformed together: half a first-level cache
  static constexpr int kMaxFactors = 64;

 public:
  // `roots.period` is a multiple of `length`.
  Fourier(int64_t length, Roots<Real> roots) : length_(length), roots_(roots) {
    int64_t left = length;
    for (int radix : {8, 4, 2})
      for (; left % radix == 0 && !(radix == 8 && left == 16); left /= radix) factors_[number_++] = radix;
    for (int64_t radix = 3; left > 1; radix += 2) {
      if (radix * radix > left) radix = left;
      for (; left % radix == 0; left /= radix) factors_[number_++] = radix;
    }
  }

  // Compute the table of positions. Return false if there is no memory.
  bool prepare() {
    positions_ = allocate<int64_t>(length_);
    if (!positions_) return false;
    for (int64_t k = 0; k < length_; ++k) {
      int64_t place = 0, part = length_, left = k;
      for (int i = 0; i < number_; ++i) {
        part /= factors_[i];
        place += left % factors_[i] * part;
        left /= factors_[i];
      }
      positions_[k] = place;
    }
    return true;
  }

  int64_t position(int64_t bin) const { return positions_[bin]; }

  // Vectors of scratch memory that a transform needs.
  int64_t scratch_vectors() const {
    int64_t largest = 1;
    for (int i = 0; i < number_; ++i) largest = largest < factors_[i] ? factors_[i] : largest;
    return 2 * largest;
  }

  void transform(V* data, V* scratch) const { transform(data, scratch, length_, 1, 0); }

 private:
  // Transform `blocks` signals of `length`, end to end.
  void transform(V* data, V* scratch, int64_t length, int64_t blocks, int depth) const {
    if (depth == number_) return;
    const int64_t radix = factors_[depth], part = length / radix;
    switch (radix) {
      case 2:
        return pass<2>(data, scratch, length, blocks, depth);
      case 4:
        return pass<4>(data, scratch, length, blocks, depth);
      case 8:
        return pass<8>(data, scratch, length, blocks, depth);
      default:
        for (int64_t block = 0; block < blocks; ++block)
          for (int64_t j = 0; j < part; ++j) any_radix(data + 2 * (block * length + j), scratch, length, part, j);
    }
    next(data, scratch, length, blocks, depth);
  }

  // Go on with the parts of all blocks: together if they fit the cache, otherwise one after the other.
  void next(V* data, V* scratch, int64_t length, int64_t blocks, int depth) const {
    const int64_t radix = factors_[depth], part = length / radix;
    if (blocks * length * 2 * kVectorBytes <= kCacheBytes) {
      return transform(data, scratch, part, blocks * radix, depth + 1);
    }
    for (int64_t i = 0; i < blocks * radix; ++i) transform(data + 2 * i * part, scratch, part, 1, depth + 1);
  }

  template <int Radix>
  void pass(V* data, V* scratch, int64_t length, int64_t blocks, int depth) const {
    const int64_t part = length / Radix, step = roots_.period / length;
    for (int64_t block = 0; block < blocks; ++block) {
      V* first = data + 2 * block * length;
      butterfly<Radix, false>(first, part, 0);
      for (int64_t j = 1; j < part; ++j) butterfly<Radix, true>(first + 2 * j, part, j * step);
    }
    next(data, scratch, length, blocks, depth);
  }

  // Transform `Radix` values that lie `part` apart, and turn result q by q * `power` roots.
  template <int Radix, bool Turned>
  __attribute__((always_inline)) inline void butterfly(V* data, int64_t part, int64_t power) const {
    C z[Radix];
#pragma GCC unroll 8
    for (int q = 0; q < Radix; ++q) z[q] = {data[2 * q * part], data[2 * q * part + 1]};
    dft(z);
#pragma GCC unroll 8
    for (int q = 0; q < Radix; ++q) {
      const C turned = Turned && q ? z[q].times(roots_.re(q * power), roots_.im(q * power)) : z[q];
      data[2 * q * part] = turned.re;
      data[2 * q * part + 1] = turned.im;
    }
  }

  __attribute__((always_inline)) static inline void dft(C (&z)[2]) {
    const C sum = z[0] + z[1];
    z[1] = z[0] - z[1];
    z[0] = sum;
  }
  __attribute__((always_inline)) static inline void dft(C (&z)[4]) {
    const C a = z[0] + z[2], b = z[0] - z[2], c = z[1] + z[3], d = (z[1] - z[3]).quarter_turn_back();
    z[0] = a + c;
    z[1] = b + d;
    z[2] = a - c;
    z[3] = b - d;
  }
  __attribute__((always_inline)) static inline void dft(C (&z)[8]) {
    C even[4] = {z[0], z[2], z[4], z[6]}, odd[4] = {z[1], z[3], z[5], z[7]};
    dft(even);
    dft(odd);
    const Real half = static_cast<Real>(0.70710678118654752440);
    const C turned[4] = {odd[0],
                         {(odd[1].re + odd[1].im) * half, (odd[1].im - odd[1].re) * half},
                         odd[2].quarter_turn_back(),
                         {(odd[3].im - odd[3].re) * half, -(odd[3].re + odd[3].im) * half}};
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) {
      z[q] = even[q] + turned[q];
      z[q + 4] = even[q] - turned[q];
    }
  }

  // A butterfly of the radix length / part, by its definition.
  void any_radix(V* data, V* scratch, int64_t length, int64_t part, int64_t j) const {
    const int64_t radix = length / part, step = roots_.period / length;
    for (int64_t q = 0; q < radix; ++q) {
      C sum{};
      for (int64_t p = 0; p < radix; ++p) {
        const int64_t power = (p * q % radix * part + j * q) % length * step;
        sum = sum + C{data[2 * p * part], data[2 * p * part + 1]}.times(roots_.re(power), roots_.im(power));
      }
      scratch[2 * q] = sum.re;
      scratch[2 * q + 1] = sum.im;
    }
    for (int64_t q = 0; q < radix; ++q) {
      data[2 * q * part] = scratch[2 * q];
      data[2 * q * part + 1] = scratch[2 * q + 1];
    }
  }

  int64_t length_;
  Roots<Real> roots_;
  int64_t factors_[kMaxFactors];
  int number_ = 0;
  Memory<int64_t> positions_;
};

}  // namespace fastser
