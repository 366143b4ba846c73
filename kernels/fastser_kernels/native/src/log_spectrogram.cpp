// Log-spectrogram segments from packed waveforms; the formula stands in log_spectrogram/op.py.
#include "log_spectrogram.h"

#include "band_matrix.h"
#include "logarithm.h"

namespace fastser {

template <class Real>
struct SpectrogramForward {
  using V = Vector<Real>;
  static constexpr int kLength = kLanes<Real>;

  Segments<Real> segments;
  RealFourier<Real> fourier;
  const BandMatrix<Real>* bands;  // null without a filterbank
  int64_t dft_bins, columns;
  Real power_floor, scale, shift;  // the result is log2(power + power_floor) * scale + shift
  Real* out;                       // [segment][frame][column]

  int64_t thread_vectors() const {
    return fourier.vectors() + fourier.scratch_vectors() + segments.win + (bands ? dft_bins + columns : 0);
  }

  void run(int thread, int team, V* memory) const {
    const Range own = share(segments.count, thread, team);
    for (int64_t segment = own.begin; segment < own.end; ++segment) {
      const int64_t live = segments.frames(segment);
      std::memset(out + (segment * segments.segment_frames + live) * columns, 0,
                  sizeof(Real) * static_cast<size_t>((segments.segment_frames - live) * columns));
    }
    segments.for_pieces(share(segments.all_groups(), thread, team), [&](const Piece& piece) {
      for (int64_t first = piece.first; first < piece.end; first += kLength) write(piece, first, memory);
    });
  }

  void write(const Piece& piece, int64_t first, V* data) const {
    V* scratch = data + fourier.vectors();
    V* copies = scratch + fourier.scratch_vectors();
    V *powers = copies + segments.win, *band_powers = powers + dft_bins;
    transform_group(segments, fourier, piece, first, data, scratch, reinterpret_cast<Real*>(copies));
    Real* to = out + (piece.segment * segments.segment_frames + first) * columns;
    const int live = static_cast<int>(std::min<int64_t>(piece.end - first, kLength));
    if (!bands) {
      return levels(to, live, [&](int64_t k) { return power(data, k); });
    }
    for (int64_t k = 0; k < dft_bins; ++k) powers[k] = power(data, k);
    bands->multiply(powers, band_powers);
    levels(to, live, [&](int64_t column) { return band_powers[column]; });
  }

  inline V power(const V* data, int64_t k) const {
    const auto x = fourier.bin(data, k);
    return x.re * x.re + x.im * x.im;
  }

  // Write the normalised decibels of `live` frames from the powers of the columns.
  template <class Power>
  inline void levels(Real* to, int live, Power power) const {
    for_tiles<kLength>(columns, [&](int64_t column, int number) __attribute__((always_inline)) {
      V square[kLength];
      for (int i = 0; i < number; ++i) square[i] = log2(power(column + i) + power_floor) * scale + shift;
      for (int i = number; i < kLength; ++i) square[i] = V{};
      transpose<Real>(square);
      for (int lane = 0; lane < live; ++lane) store(to + lane * columns + column, square[lane], number);
    });
  }
};

}  // namespace fastser

// All floating-point tensors but the noise are float or double, as `dtype` says. roots [n_fft][2] are the powers of
// exp(-2 pi i / n_fft). filterbank is [n_fft / 2 + 1][columns] or null. Without noise its four tensors are null.
FASTSER_CALL fastser_log_spectrogram(int dtype, const void* waveforms, const void* start, const void* num_frames,
                                     const void* window, const void* roots, const void* filterbank, const void* noise,
                                     const void* noise_start, const void* noise_gain, void* out, int64_t samples,
                                     int64_t noise_samples, int64_t noise_dtype, int64_t segments, int64_t win,
                                     int64_t hop, int64_t n_fft, int64_t columns, int64_t segment_frames,
                                     double power_floor, double scale, double shift, int threads) {
  using namespace fastser;
  const auto run = [&](auto stored) -> int {
    using Real = decltype(stored);
    const auto reals = [](const void* pointer) { return static_cast<const Real*>(pointer); };
    const auto places = [](const void* pointer) { return static_cast<const int64_t*>(pointer); };
    BandMatrix<Real> bands;
    const int64_t dft_bins = n_fft / 2 + 1;
    if (filterbank && !bands.prepare(reals(filterbank), columns, dft_bins, 1, columns)) return kOutOfMemory;
    SpectrogramForward<Real> pass{{{waveforms, samples}, places(start), places(num_frames), {noise, noise_samples},
                                   static_cast<int>(noise_dtype), places(noise_start), reals(noise_gain), reals(window),
                                   segments, win, hop, segment_frames},
                                  {n_fft, reals(roots)},
                                  filterbank ? &bands : nullptr,
                                  dft_bins,
                                  columns,
                                  static_cast<Real>(power_floor),
                                  static_cast<Real>(scale),
                                  static_cast<Real>(shift),
                                  static_cast<Real*>(out)};
    const int64_t part = pass.thread_vectors();
    const auto memory = allocate<Vector<Real>>(part * threads);
    if (!memory || !pass.fourier.prepare()) return kOutOfMemory;
    parallel(threads, [&](int thread, int team) { pass.run(thread, team, memory.get() + thread * part); });
    return kDone;
  };
  return dtype == kFloat32 ? run(float{}) : dtype == kFloat64 ? run(double{}) : kUnknownDtype;
}
