// Segments cut from a bank of frames, normalised and padded, or mixtures of two; the formula stands in gather/op.py.
//
// The bank is [frame][bin], the result [segment][frame][bin]. Where the rows of the bank lie end to end, so do the
// frames of a window, and they are normalised in one loop whatever the number of bins.
#include <algorithm>

#include "calls.h"
#include "parallel.h"

namespace fastser {

// Frames of a window that lie end to end in the bank; null values for frames of the padding.
template <class Stored>
struct Run {
  const Stored* values;
  int64_t frames;
};

template <class Stored>
struct Bank {
  const Stored* values;
  int64_t frames, bins, stride;  // `stride`: values from one frame to the next

  // Return the longest run from frame `t` of a window on; it ends at frame `end` of the segment at the latest.
  // Places outside the bank are clamped to it.
  Run<Stored> run(int64_t start, int64_t length, int64_t t, int64_t end) const {
    if (t >= length) return {nullptr, end - t};
    const int64_t place = std::clamp<int64_t>(start, -end, frames) + t;
    const Stored* first = values + std::clamp<int64_t>(place, 0, frames - 1) * stride;
    if (place < 0 || place >= frames || stride != bins) return {first, 1};
    return {first, std::min(std::min(end, length) - t, frames - place)};
  }
};

// Windows of all segments of a batch.
struct Windows {
  const int64_t *start, *length;
};

// Write `count` values; `value(i, lanes)` returns those from i on.
template <class Stored, class Value>
inline void write(Stored* out, int64_t count, Value value) {
  constexpr int lanes = kLanes<Exact<Stored>>;
  int64_t i = 0;
#pragma GCC unroll 4
  for (; i + lanes <= count; i += lanes) store(out + i, value(i, lanes));
  if (i < count) store(out + i, value(i, static_cast<int>(count - i)), static_cast<int>(count - i));
}

template <class Stored>
struct Gather {
  using Real = Exact<Stored>;
  using V = Vector<Real>;

  Bank<Stored> bank;
  Windows a, b;     // b.start is null without a mixture
  const Real* lam;  // [segment]
  Stored* out;
  int64_t segment_frames;
  Real mean, rstd;

  // Write a run of a mixture.
  void mix(const Stored* from_a, const Stored* from_b, Real lam_a, Stored* to, int64_t count) const {
    const V middle = broadcast(mean), scale = broadcast(rstd);
    const V share_a = broadcast(lam_a), share_b = broadcast(1 - lam_a);
    if (from_a && from_b) {
      write(to, count, [=](int64_t i, int lanes) {
        return (share_a * (load(from_a + i, lanes) - middle) + share_b * (load(from_b + i, lanes) - middle)) * scale;
      });
    } else if (from_a || from_b) {
      const Stored* from = from_a ? from_a : from_b;
      const V share = from_a ? share_a : share_b;
      write(to, count, [=](int64_t i, int lanes) { return share * (load(from + i, lanes) - middle) * scale; });
    } else {
      write(to, count, [](int64_t, int) { return V{}; });
    }
  }

  // Write a run of one window.
  void normalise(const Stored* from, Stored* to, int64_t count) const {
    const V middle = broadcast(mean), scale = broadcast(rstd);
    if (from) {
      write(to, count, [=](int64_t i, int lanes) { return (load(from + i, lanes) - middle) * scale; });
    } else {
      write(to, count, [](int64_t, int) { return V{}; });
    }
  }

  // Write some frames of the result, counted over all segments.
  void run(Range frames) const {
    for (int64_t frame = frames.begin; frame < frames.end;) {
      const int64_t segment = frame / segment_frames, t = frame % segment_frames;
      const int64_t end = std::min(segment_frames, t + frames.end - frame);
      const Run<Stored> one = bank.run(a.start[segment], a.length[segment], t, end);
      Stored* to = out + frame * bank.bins;
      int64_t number = one.frames;
      if (b.start) {
        const Run<Stored> other = bank.run(b.start[segment], b.length[segment], t, end);
        number = std::min(number, other.frames);
        mix(one.values, other.values, lam[segment], to, number * bank.bins);
      } else {
        normalise(one.values, to, number * bank.bins);
      }
      frame += number;
    }
  }
};

}  // namespace fastser

// Starts and lengths are int64 [segment]. lam [segment] and moments [2] are float, or double for a double bank.
// Without a mixture start_b, length_b and lam are null. moments, if not null, replaces mean and std.
FASTSER_CALL fastser_gather(int dtype, const void* frames, const void* start_a, const void* length_a,
                            const void* start_b, const void* length_b, const void* lam, const void* moments, void* out,
                            int64_t num_frames, int64_t bins, int64_t stride, int64_t segments, int64_t segment_frames,
                            double mean, double std, int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) -> int {
    using Stored = decltype(stored);
    using Real = Exact<Stored>;
    const auto places = [](const void* pointer) { return static_cast<const int64_t*>(pointer); };
    if (moments) {
      mean = static_cast<const Real*>(moments)[0];
      std = static_cast<const Real*>(moments)[1];
    }
    const Gather<Stored> gather{{static_cast<const Stored*>(frames), num_frames, bins, stride},
                                {places(start_a), places(length_a)},
                                {places(start_b), places(length_b)},
                                static_cast<const Real*>(lam),
                                static_cast<Stored*>(out),
                                segment_frames,
                                static_cast<Real>(mean),
                                static_cast<Real>(1 / std)};
    parallel(threads, [&](int thread, int team) { gather.run(share(segments * segment_frames, thread, team)); });
    return kDone;
  });
}
