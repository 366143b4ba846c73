// Frames of the segments and their spectra, which the forward and the backward pass of the log-spectrogram share.
//
// A group is some consecutive frames of one segment, one frame in each lane. Lanes beyond the segment's last frame repeat
// it, and their results are not used.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "calls.h"
#include "fourier.h"
#include "parallel.h"
#include "transpose.h"

namespace fastser {

// Call `visit(first, number)` for tiles of `Size` of `count` items. All but the last have the constant size.
template <int Size, class Visit>
__attribute__((always_inline)) inline void for_tiles(int64_t count, Visit visit) {
  int64_t first = 0;
  for (; first + Size <= count; first += Size) visit(first, Size);
  if (first < count) visit(first, static_cast<int>(count - first));
}

// Packed samples.
struct Signal {
  const void* samples;
  int64_t size;
};

// Frames [first, end) of a segment.
struct Piece {
  int64_t segment, first, end;

  int64_t frames() const { return end - first; }
};

template <class Real>
struct Segments {
  Signal waveforms;  // Real
  const int64_t *start, *num_frames;
  Signal noise;  // of any dtype; null samples without noise
  int noise_dtype;
  const int64_t* noise_start;
  const Real* noise_gain;
  const Real* window;
  int64_t count, win, hop, segment_frames;

  int64_t frames(int64_t segment) const { return std::clamp<int64_t>(num_frames[segment], 0, segment_frames); }
  int64_t groups(int64_t segment) const { return (frames(segment) + kLanes<Real> - 1) / kLanes<Real>; }
  int64_t all_groups() const {
    int64_t sum = 0;
    for (int64_t segment = 0; segment < count; ++segment) sum += groups(segment);
    return sum;
  }
  // Samples that some frames cover.
  int64_t span(int64_t number) const { return number > 0 ? (number - 1) * hop + win : 0; }

  // Return the first sample of frame `t`. A segment outside the signal begins just outside it, so no sum overflows.
  int64_t place(int64_t begin, int64_t size, int64_t t) const {
    return std::clamp(begin, -span(segment_frames), size) + t * hop;
  }

  // Call `visit(piece)` for the groups in `range`, counted over all segments: one piece for each segment.
  template <class Visit>
  void for_pieces(Range range, Visit visit) const {
    int64_t before = 0;
    for (int64_t segment = 0; segment < count && before < range.end; ++segment) {
      const int64_t number = groups(segment);
      const int64_t first = std::max<int64_t>(range.begin - before, 0), end = std::min(range.end - before, number);
      if (first < end) visit(Piece{segment, first * kLanes<Real>, std::min(end * kLanes<Real>, frames(segment))});
      before += number;
    }
  }

  // Return the samples of frame `t`, in place if they lie inside the waveforms and have no noise, otherwise in `copy`.
  const Real* samples(int64_t segment, int64_t t, Real* copy) const {
    const Real* all = static_cast<const Real*>(waveforms.samples);
    const int64_t begin = place(start[segment], waveforms.size, t);
    const bool inside = begin >= 0 && begin + win <= waveforms.size;
    if (inside && !noise.samples) return all + begin;
    if (inside) {
      std::memcpy(copy, all + begin, sizeof(Real) * static_cast<size_t>(win));
    } else {
      for (int64_t n = 0; n < win; ++n) copy[n] = all[std::clamp<int64_t>(begin + n, 0, waveforms.size - 1)];
    }
    if (noise.samples) {
      const int64_t noise_begin = place(noise_start[segment], noise.size, t);
      for_dtype(noise_dtype, [&](auto stored) -> int {
        add_noise(static_cast<const decltype(stored)*>(noise.samples), noise_begin, noise_gain[segment], copy);
        return kDone;
      });
    }
    return copy;
  }

  template <class Stored>
  void add_noise(const Stored* all, int64_t begin, Real gain, Real* samples) const {
    if (begin < 0 || begin + win > noise.size) {
      for (int64_t n = 0; n < win; ++n) {
        samples[n] += gain * static_cast<Real>(exact(all[std::clamp<int64_t>(begin + n, 0, noise.size - 1)]));
      }
    } else if constexpr (std::is_same_v<Exact<Stored>, Real>) {
      constexpr int lanes = kLanes<Real>;
      for (int64_t n = 0; n < win; n += lanes) {
        const int number = static_cast<int>(std::min<int64_t>(win - n, lanes));
        store(samples + n, load(samples + n, number) + gain * load(all + begin + n, number), number);
      }
    } else {
      for (int64_t n = 0; n < win; ++n) samples[n] += gain * static_cast<Real>(exact(all[begin + n]));
    }
  }
};

// Transform of real frames of `length` samples. With an even length, a complex signal of half of it holds the even
// samples as real parts and the odd ones as imaginary parts.
template <class Real>
class RealFourier {
  using V = Vector<Real>;
  using C = Complex<V>;

 public:
  RealFourier(int64_t length, const Real* roots)
      : length_(length), even_(length % 2 == 0), half_(even_ ? length / 2 : length), roots_{roots, length},
        fourier_(half_, roots_) {}

  bool prepare() { return fourier_.prepare(); }
  int64_t vectors() const { return 2 * half_; }  // of the complex signal
  int64_t scratch_vectors() const { return fourier_.scratch_vectors(); }
  void transform(V* data, V* scratch) const { fourier_.transform(data, scratch); }

  // Set samples [first, first + number) of all frames.
  __attribute__((always_inline)) inline void set(V* data, const V* samples, int64_t first, int number) const {
    for (int i = 0; i < number; ++i) {
      if (even_) {
        data[first + i] = samples[i];
      } else {
        data[2 * (first + i)] = samples[i];
        data[2 * (first + i) + 1] = V{};
      }
    }
  }
  void clear(V* data, int64_t first) const {
    const int64_t begin = even_ ? first : 2 * first;
    std::memset(data + begin, 0, sizeof(V) * static_cast<size_t>(vectors() - begin));
  }

  // Return bin `k` after the transform of frames whose samples were halved.
  inline C bin(const V* data, int64_t k) const {
    if (!even_) {
      const C z = at(data, k);
      return z + z;
    }
    const C z = at(data, k < half_ ? k : 0), mirrored = at(data, k > 0 ? half_ - k : 0).conjugate();
    return (z + mirrored) + (z - mirrored).quarter_turn_back().times(roots_.re(k), roots_.im(k));
  }

  // Write the signal whose inverse transform holds the gradient of the samples. `slopes` is the gradient of the power of
  // bins [0, bins), and `data` are the transformed frames.
  void pull(const V* data, const V* slopes, int64_t bins, V* out) const {
    const auto pulled = [&](int64_t k) {
      if (k >= bins) return C{};
      const V slope = slopes[k] * static_cast<Real>(!even_ || k == 0 || k == half_ ? 2 : 1);
      const C x = bin(data, k);
      return C{x.re * slope, x.im * slope};
    };
    if (!even_) {
      for (int64_t k = 0; k < length_; ++k) put(out, k, pulled(k));
      return;
    }
    for (int64_t k = 0; k <= half_ / 2; ++k) {
      const C one = pulled(k), other = pulled(half_ - k).conjugate();
      const C sum = one + other, turned = (one - other).times(roots_.re(k), -roots_.im(k));
      put(out, k, sum + turned.quarter_turn());
      if (k > 0) put(out, half_ - k, sum.conjugate() + turned.conjugate().quarter_turn());
    }
  }

  // Return sample `n` after the transform of the signal that `pull` wrote.
  inline V sample(const V* data, int64_t n) const {
    return even_ ? data[2 * fourier_.position(n / 2) + 1 - n % 2] : data[2 * fourier_.position(n) + 1];
  }

 private:
  inline C at(const V* data, int64_t k) const {
    const V* place = data + 2 * fourier_.position(k);
    return {place[0], place[1]};
  }
  // Real and imaginary parts change places, which turns the transform into its inverse.
  inline void put(V* data, int64_t k, C value) const {
    data[2 * k] = value.im;
    data[2 * k + 1] = value.re;
  }

  int64_t length_;
  bool even_;
  int64_t half_;
  Roots<Real> roots_;
  Fourier<Real> fourier_;
};

// Compute the transform of the group of frames from `first` on, for `RealFourier::bin`. `copies` has room for one frame per lane.
template <class Real>
inline void transform_group(const Segments<Real>& segments, const RealFourier<Real>& fourier, const Piece& piece,
                            int64_t first, Vector<Real>* data, Vector<Real>* scratch, Real* copies) {
  constexpr int lanes = kLanes<Real>;
  const Real* frames[lanes];
  for (int lane = 0; lane < lanes; ++lane) {
    frames[lane] = first + lane < piece.end || lane == 0
                       ? segments.samples(piece.segment, first + lane, copies + lane * segments.win)
                       : frames[lane - 1];
  }
  for_tiles<lanes>(segments.win, [&](int64_t n, int number) __attribute__((always_inline)) {
    const Vector<Real> weights = load(segments.window + n, number) * static_cast<Real>(0.5);
    Vector<Real> square[lanes];
#pragma GCC unroll 16
    for (int lane = 0; lane < lanes; ++lane) square[lane] = load(frames[lane] + n, number) * weights;
    transpose<Real>(square);
    fourier.set(data, square, n, number);
  });
  fourier.clear(data, segments.win);
  fourier.transform(data, scratch);
}

}  // namespace fastser
