// Gradient of the waveforms through their log-spectrogram; the formula stands in log_spectrogram/op.py.
//
// Each thread computes the spectra of its groups again, and adds the gradients of its frames to the samples of their
// piece, in memory of its own. After a barrier each thread sums all pieces over its part of the waveforms, in one order.
#include "band_matrix.h"
#include "log_spectrogram.h"

namespace fastser {

template <class Real>
struct SpectrogramBackward {
  using V = Vector<Real>;
  static constexpr int kLength = kLanes<Real>;

  Segments<Real> segments;
  RealFourier<Real> fourier;
  const BandMatrix<Real>*bands, *bins;  // the filterbank and its transpose; null without one
  int64_t dft_bins, columns;
  Real power_floor, scale;  // the gradient of the power is slope * scale / (power + power_floor)
  const Real* grad;         // [segment][frame][column]
  Real* out;                // [sample]
  Real* spans;              // the samples of all pieces, one after the other

  int64_t kept() const { return bands ? dft_bins : columns; }
  int64_t thread_vectors() const {
    return 2 * fourier.vectors() + fourier.scratch_vectors() + segments.win + dft_bins + 2 * columns;
  }
  // Values of `spans`. A segment that two threads share has the samples around their border twice.
  int64_t span_values(int threads) const {
    int64_t sum = threads * segments.win;
    for (int64_t segment = 0; segment < segments.count; ++segment) sum += segments.span(segments.frames(segment));
    return sum;
  }

  // Call `visit(thread, piece, span)` for the pieces of all threads.
  template <class Visit>
  void for_all_pieces(int team, Visit visit) const {
    Real* span = spans;
    const int64_t groups = segments.all_groups();
    for (int thread = 0; thread < team; ++thread) {
      segments.for_pieces(share(groups, thread, team), [&](const Piece& piece) {
        visit(thread, piece, span);
        span += segments.span(piece.frames());
      });
    }
  }

  void run(int thread, int team, V* memory) const {
    for_all_pieces(team, [&](int owner, const Piece& piece, Real* span) {
      if (owner != thread) return;
      std::memset(span, 0, sizeof(Real) * static_cast<size_t>(segments.span(piece.frames())));
      for (int64_t first = piece.first; first < piece.end; first += kLength) pull(piece, first, span, memory);
    });
    if (team > 1) barrier();
    const Range own = share(segments.waveforms.size, thread, team);
    std::memset(out + own.begin, 0, sizeof(Real) * static_cast<size_t>(own.end - own.begin));
    if (own.begin == own.end) return;
    for_all_pieces(team, [&](int, const Piece& piece, const Real* span) { add_piece(own, piece, span); });
  }

  // Add the gradients of one group of frames to the samples of its piece.
  void pull(const Piece& piece, int64_t first, Real* span, V* data) const {
    V* pulled = data + fourier.vectors();
    V* scratch = pulled + fourier.vectors();
    V* copies = scratch + fourier.scratch_vectors();
    V *slopes = copies + segments.win, *band_slopes = slopes + dft_bins, *band_powers = band_slopes + columns;
    transform_group(segments, fourier, piece, first, data, scratch, reinterpret_cast<Real*>(copies));
    const int live = static_cast<int>(std::min<int64_t>(piece.end - first, kLength));
    read_slopes(piece.segment * segments.segment_frames + first, live, bands ? band_slopes : slopes);
    if (bands) {
      for (int64_t k = 0; k < dft_bins; ++k) slopes[k] = power(data, k);
      bands->multiply(slopes, band_powers);
      for (int64_t c = 0; c < columns; ++c) band_slopes[c] = band_slopes[c] * scale / (band_powers[c] + power_floor);
      bins->multiply(band_slopes, slopes);
    } else {
      for (int64_t k = 0; k < columns; ++k) slopes[k] = slopes[k] * scale / (power(data, k) + power_floor);
    }
    fourier.pull(data, slopes, kept(), pulled);
    fourier.transform(pulled, scratch);
    add_frames(pulled, live, span + (first - piece.first) * segments.hop);
  }

  inline V power(const V* data, int64_t k) const {
    const auto x = fourier.bin(data, k);
    return x.re * x.re + x.im * x.im;
  }

  // Read the gradients of the columns of `live` frames.
  void read_slopes(int64_t row, int live, V* slopes) const {
    for_tiles<kLength>(columns, [&](int64_t column, int number) __attribute__((always_inline)) {
      V square[kLength];
      for (int lane = 0; lane < live; ++lane) square[lane] = load(grad + (row + lane) * columns + column, number);
      for (int lane = live; lane < kLength; ++lane) square[lane] = V{};
      transpose<Real>(square);
      for (int i = 0; i < number; ++i) slopes[column + i] = square[i];
    });
  }

  void add_frames(const V* pulled, int live, Real* span) const {
    for_tiles<kLength>(segments.win, [&](int64_t n, int number) __attribute__((always_inline)) {
      V square[kLength];
      for (int i = 0; i < number; ++i) square[i] = fourier.sample(pulled, n + i);
      for (int i = number; i < kLength; ++i) square[i] = V{};
      transpose<Real>(square);
      const V weights = load(segments.window + n, number);
      for (int lane = 0; lane < live; ++lane) {
        Real* to = span + lane * segments.hop + n;
        store(to, load(to, number) + square[lane] * weights, number);
      }
    });
  }

  // Add the samples of a piece that lie in a part of the waveforms. Those that were read from a clamped place belong to
  // the first or the last sample.
  void add_piece(Range own, const Piece& piece, const Real* span) const {
    const int64_t size = segments.waveforms.size, length = segments.span(piece.frames());
    const int64_t begin = segments.place(segments.start[piece.segment], size, piece.first);
    const auto inside = [&](int64_t place) { return std::clamp<int64_t>(place - begin, 0, length); };
    if (own.begin == 0) {
      for (int64_t n = 0; n < inside(0); ++n) out[0] += span[n];
    }
    for (int64_t n = inside(own.begin); n < inside(own.end); ++n) out[begin + n] += span[n];
    if (own.end == size) {
      for (int64_t n = inside(size); n < length; ++n) out[size - 1] += span[n];
    }
  }
};

}  // namespace fastser

// Tensors as in fastser_log_spectrogram; `grad` has the shape of the result, and the gradient that of the waveforms.
FASTSER_CALL fastser_log_spectrogram_backward(int dtype, const void* grad, const void* waveforms, const void* start,
                                              const void* num_frames, const void* window, const void* roots,
                                              const void* filterbank, const void* noise, const void* noise_start,
                                              const void* noise_gain, void* out, int64_t samples, int64_t noise_samples,
                                              int64_t noise_dtype, int64_t segments, int64_t win, int64_t hop,
                                              int64_t n_fft, int64_t columns, int64_t segment_frames,
                                              double power_floor, double scale, int threads) {
  using namespace fastser;
  const auto run = [&](auto stored) -> int {
    using Real = decltype(stored);
    const auto reals = [](const void* pointer) { return static_cast<const Real*>(pointer); };
    const auto places = [](const void* pointer) { return static_cast<const int64_t*>(pointer); };
    BandMatrix<Real> bands, bins;
    const int64_t dft_bins = n_fft / 2 + 1;
    if (filterbank && (!bands.prepare(reals(filterbank), columns, dft_bins, 1, columns) ||
                       !bins.prepare(reals(filterbank), dft_bins, columns, columns, 1))) {
      return kOutOfMemory;
    }
    SpectrogramBackward<Real> pass{{{waveforms, samples}, places(start), places(num_frames), {noise, noise_samples},
                                    static_cast<int>(noise_dtype), places(noise_start), reals(noise_gain),
                                    reals(window), segments, win, hop, segment_frames},
                                   {n_fft, reals(roots)},
                                   filterbank ? &bands : nullptr,
                                   filterbank ? &bins : nullptr,
                                   dft_bins,
                                   columns,
                                   static_cast<Real>(power_floor),
                                   static_cast<Real>(scale),
                                   reals(grad),
                                   static_cast<Real*>(out),
                                   nullptr};
    const int64_t part = pass.thread_vectors();
    const auto memory = allocate<Vector<Real>>(part * threads);
    const auto spans = allocate<Real>(pass.span_values(threads));
    if (!memory || !spans || !pass.fourier.prepare()) return kOutOfMemory;
    pass.spans = spans.get();
    parallel(threads, [&](int thread, int team) { pass.run(thread, team, memory.get() + thread * part); });
    return kDone;
  };
  return dtype == kFloat32 ? run(float{}) : dtype == kFloat64 ? run(double{}) : kUnknownDtype;
}
