// A whole DenseBlock forward; the formula stands in dense_block/op.py.
//
// Maps lie in one buffer [image][row][column][channel]. For a layer, each band is normalised, rectified and transposed to
// [channel][pixel]. Then pixels fill the vector lanes, whatever the growth rate, and weights are the scalars.
#include <memory>
#include <type_traits>

#include "calls.h"
#include "channel_moments.h"
#include "dense_block.h"
#include "transpose.h"

namespace fastser {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kNewMaps[] = {12, 8, 4, 2, 1};
template <int Scalars>
constexpr int kVectors = Scalars == 12 ? 2 : Scalars == 8 ? 3 : 4;
#else
constexpr int kNewMaps[] = {6, 4, 2, 1};
template <int Scalars>
constexpr int kVectors = Scalars == 6 ? 2 : Scalars == 4 ? 3 : 4;
#endif
constexpr int kMostVectors = 4;

template <class Stored>
struct DenseForward {
  using Real = Exact<Stored>;
  using V = Vector<Real>;
  using P = Product<Stored>;
  using Cell = typename P::Cell;
  static constexpr int kLength = kLanes<Real>;
  static constexpr int kDepth = P::kDepth;

  DenseSizes sizes;
  const Stored* x;
  Stored* maps;
  Real *mean, *var;
  const Real* const* bn_weight;
  const Real* const* bn_bias;
  const Real* const* running_mean;
  const Real* const* running_var;
  const Real* const* kernels;
  bool training;
  double eps;
  int threads;
  Bands bands;
  Memory<Cell> packed;       // kernels of all layers
  Memory<int64_t> places;    // first cell of each layer in `packed`
  Memory<Moments> moments;   // [band][channel], of the channels that a layer reads
  Memory<char> scratch;      // [thread] of the struct below
  int64_t cells, vectors, thread_bytes;

  int64_t read() const { return sizes.inputs(sizes.layers - 1); }
  int64_t groups(int64_t layer) const { return (sizes.inputs(layer) + kDepth - 1) / kDepth; }

  bool allocate_all() {
    const int64_t most = round_up(read(), kLength);
    cells = round_up((bands.height + 2) * sizes.width() + 2 + kMostVectors * kLength, kLength);
    vectors = round_up(most, 16);
    thread_bytes = round_up(static_cast<int64_t>(sizeof(Cell)) * cells * round_up(most, kDepth) / kDepth, 64) +
                   vector_bytes();
    places = allocate<int64_t>(sizes.layers + 1);
    if (!places) return false;
    places[0] = 0;
    for (int64_t i = 0; i < sizes.layers; ++i) places[i + 1] = places[i] + groups(i) * 9 * sizes.growth;
    packed = allocate<Cell>(places[sizes.layers]);
    scratch = allocate<char>(thread_bytes * threads);
    if (training) moments = allocate<Moments>(bands.count() * read());
    return packed && scratch && (moments || !training);
  }

  // Pack kernels [new][channel][3][3] as [tile of new maps][group of channels][tap][new map in the tile].
  void pack(int64_t layer, Range share_of_groups) {
    const int64_t channels = sizes.inputs(layer), count = groups(layer);
    Cell* to = packed.get() + places[layer];
    for (int64_t g = 0; g < sizes.growth;) {
      const int tile = next_tile(static_cast<int>(sizes.growth - g), kNewMaps);
      for (int64_t group = share_of_groups.begin; group < share_of_groups.end; ++group)
        for (int tap = 0; tap < 9; ++tap)
          for (int s = 0; s < tile; ++s) {
            Real values[2] = {};
            for (int d = 0; d < kDepth && group * kDepth + d < channels; ++d)
              values[d] = kernels[layer][((g + s) * channels + group * kDepth + d) * 9 + tap];
            to[(g * count + group * tile) * 9 + tap * tile + s] = P::cell(values);
          }
      g += tile;
    }
  }

  // Copy the input of a band into the buffer; in training take its moments.
  void copy(int64_t index) {
    const Band band(bands, index, false);
    const int64_t first = (band.image * sizes.rows + band.begin) * sizes.columns;
    const int64_t last = first + band.height() * sizes.columns, total = sizes.total(), channels = sizes.channels;
    Moments* own = training ? moments.get() + index * read() : nullptr;
    if (own) std::fill_n(own, read(), Moments{});
    constexpr int64_t kTogether = 128;  // pixels that stay in the first-level cache
    for (int64_t begin = first; begin < last; begin += kTogether) {
      const int64_t end = std::min(begin + kTogether, last);
      for (int64_t c = 0; c < channels; c += kLength) {
        const int lanes = static_cast<int>(std::min<int64_t>(kLength, channels - c));
        PivotedSums<Real> sums(load(x + begin * channels + c, lanes));
        for (int64_t i = begin; i < end; ++i) {
          const V value = load(x + i * channels + c, lanes);
          store(maps + i * total + c, value, lanes);
          sums.add(value);
        }
        if (own) sums.add_to(own + c, lanes, static_cast<double>(end - begin));
      }
    }
  }

  // Merge the moments of all bands for the channels [begin, end).
  void merge(int64_t begin, int64_t end, Real* means, Real* variances) const {
    for (int64_t c = begin; c < end; ++c) {
      Moments all;
      for (int64_t band = 0; band < bands.count(); ++band) all.merge(moments[band * read() + c]);
      means[c] = static_cast<Real>(all.mean);
      variances[c] = static_cast<Real>(all.variance());
    }
  }

  // Write relu(scale x + shift) of the band and its neighbouring rows to [group of channels][pixel]. The band above it,
  // if there is one, was the last to be written there, and its last two rows are the first two here.
  void activate(const Band& band, int64_t channels, const Normalisation<Real>& norm, Cell* to) const {
    const int64_t width = sizes.width(), total = sizes.total();
    constexpr int kRows = kLength / kDepth;
    const int64_t known = band.after_another ? 2 : 0;
    for (int64_t group = 0; group < (channels + kDepth - 1) / kDepth; ++group) {
      Cell* line = to + group * cells;
      line[0] = Cell{};
      if (known) std::memcpy(line + 1, line + 1 + bands.height * width, sizeof(Cell) * static_cast<size_t>(2 * width));
    }
    for (int64_t row = band.begin - 1 + known; row <= band.end; ++row) {
      Cell* line = to + 1 + (row - band.begin + 1) * width;
      if (row < 0 || row >= sizes.rows) {
        for (int64_t group = 0; group < (channels + kDepth - 1) / kDepth; ++group)
          std::memset(line + group * cells, 0, sizeof(Cell) * static_cast<size_t>(width));
        continue;
      }
      const Stored* from = maps + (band.image * sizes.rows + row) * sizes.columns * total;
      for (int64_t f = 0; f < sizes.columns; f += kLength) {
        const int here = static_cast<int>(std::min<int64_t>(kLength, sizes.columns - f));
        for (int64_t c = 0; c < channels; c += kLength) {
          const int lanes = static_cast<int>(std::min<int64_t>(kLength, channels - c));
          const V scale = load(norm.scale + c), shift = load(norm.shift + c);
          const int groups_here = (lanes + kDepth - 1) / kDepth;
          Cell* base = line + c / kDepth * cells + f;
          V square[kLength];
          if (here == kLength) {
#pragma GCC unroll 16
            for (int i = 0; i < kLength; ++i)
              square[i] = relu(load(from + (f + i) * total + c, lanes) * scale + shift);
          } else {
            for (int i = 0; i < kLength; ++i)
              square[i] = i < here ? relu(load(from + (f + i) * total + c, lanes) * scale + shift) : V{};
          }
          transpose<Real>(square);
          if (groups_here == kRows) {
#pragma GCC unroll 16
            for (int g = 0; g < kRows; ++g) P::store(base + g * cells, square + g * kDepth);
          } else {
            for (int g = 0; g < groups_here; ++g) P::store(base + g * cells, square + g * kDepth);
          }
        }
      }
      for (int64_t group = 0; group < (channels + kDepth - 1) / kDepth; ++group)
        line[group * cells + sizes.columns] = Cell{};
    }
  }

  // Fetch what the next band will read, some pixels at a time.
  void prefetch(const Band& band, int64_t begin, int64_t end, int64_t channels) const {
    const int64_t total = sizes.total(), first = (band.image * sizes.rows + band.end + 1) * sizes.columns;
    for (int64_t i = first + begin; i < std::min(first + end, sizes.pixels()); ++i)
      for (int64_t c = 0; c < channels; c += 64 / static_cast<int64_t>(sizeof(Stored)))
        __builtin_prefetch(maps + i * total + c, 0, 2);
  }

  // Convolve one tile of new maps over the band, write them and add up their moments.
  template <int Scalars>
  void convolve(const Band& band, int64_t layer, int64_t first_map, const Cell* active, Moments* own) const {
    constexpr int kTile = kVectors<Scalars>;
    const int64_t width = sizes.width(), total = sizes.total(), count = groups(layer);
    const int64_t outputs = band.height() * width;
    const Cell* weights = packed.get() + places[layer] + first_map * count * 9;
    Stored* to = maps + (band.image * sizes.rows + band.begin) * sizes.columns * total + sizes.inputs(layer) + first_map;
    constexpr int kParts = (Scalars + kLength - 1) / kLength;  // vectors of one pixel's new maps
    PivotedSums<Real> sums[kParts] = {};
    int64_t summed = 0, row = 0, column = 0;
    const auto flush = [&] {
      for (int part = 0; own && summed && part < kParts; ++part)
        sums[part].add_to(own + first_map + part * kLength, std::min(kLength, Scalars - part * kLength),
                          static_cast<double>(summed));
      summed = 0;
    };
    // One tile of outputs q.
    const auto outputs_at = [&](int64_t q, auto vectors_of_tile) __attribute__((always_inline)) {
      constexpr int kTile = decltype(vectors_of_tile)::value;
      Tile<P, Scalars, kTile> tile;
      tile.clear();
      const Cell* w = weights;
      const Cell* values = active + q;
      for (int64_t group = 0; group < count; ++group, values += cells, w += 9 * Scalars)
        for (int kr = 0; kr < 3; ++kr)
#pragma GCC unroll 3
          for (int kc = 0; kc < 3; ++kc) tile.add(values + kr * width + kc, w + (kr * 3 + kc) * Scalars);
#pragma GCC unroll 4
      for (int v = 0; v < kTile; ++v) {
        V squares[kParts][kLength] = {};
#pragma GCC unroll 16
        for (int s = 0; s < Scalars; ++s) squares[s / kLength][s % kLength] = tile.sums[s][v];
#pragma GCC unroll 4
        for (int part = 0; part < kParts; ++part) transpose<Real>(squares[part]);
        for (int i = 0; i < kLength && row < band.height(); ++i) {
          if (column < sizes.columns) {
            Stored* place = to + (row * sizes.columns + column) * total;
#pragma GCC unroll 4
            for (int part = 0; part < kParts; ++part) {
              const int lanes = std::min(kLength, Scalars - part * kLength);
              store(place + part * kLength, squares[part][i], lanes);
              if (!own) continue;
              const V value = rounded<Stored>(squares[part][i]);
              if (summed == 0) sums[part] = PivotedSums<Real>(value);
              sums[part].add(value);
            }
            if (++summed == 256) flush();
          }
          if (++column == width) column = 0, ++row;
        }
      }
    };
    int64_t q = 0;
    for (; outputs - q > (kTile - 1) * kLength; q += kTile * kLength) {
      if (first_map == 0) prefetch(band, q, std::min(q + kTile * kLength, outputs), sizes.inputs(layer));
      outputs_at(q, std::integral_constant<int, kTile>{});
    }
    for (; q < outputs; q += kLength) outputs_at(q, std::integral_constant<int, 1>{});
    flush();
  }

  void convolve_all(const Band& band, int64_t layer, const Cell* active, Moments* own) const {
    for (int64_t g = 0; g < sizes.growth;) {
      const int tile = next_tile(static_cast<int>(sizes.growth - g), kNewMaps);
      switch (tile) {
#if defined(__AVX512F__) || defined(__aarch64__)
        case 12: convolve<12>(band, layer, g, active, own); break;
        case 8: convolve<8>(band, layer, g, active, own); break;
#else
        case 6: convolve<6>(band, layer, g, active, own); break;
#endif
        case 4: convolve<4>(band, layer, g, active, own); break;
        case 2: convolve<2>(band, layer, g, active, own); break;
        default: convolve<1>(band, layer, g, active, own); break;
      }
      g += tile;
    }
  }

  void layer_of_band(const Band& band, int64_t layer, const Normalisation<Real>& norm, Cell* active) const {
    activate(band, sizes.inputs(layer), norm, active);
    const bool read_later = training && layer + 1 < sizes.layers;
    convolve_all(band, layer, active, read_later ? moments.get() + band.index * read() + sizes.inputs(layer) : nullptr);
  }

  void run(int thread, int team) {
    char* memory = scratch.get() + thread * thread_bytes;
    Cell* active = reinterpret_cast<Cell*>(memory);
    Real* vector = reinterpret_cast<Real*>(memory + thread_bytes - vector_bytes());
    std::memset(active, 0, sizeof(Cell) * static_cast<size_t>(cells * groups(sizes.layers - 1)));  // the tails stay zero
    for (int64_t i = 0; i < sizes.layers; ++i) pack(i, share(groups(i), thread, team));
    if (team > 1) barrier();
    if (training)
      run_by_layers(thread, team, active, vector);
    else
      run_by_images(thread, team, active, vector);
  }

  // In training, all images must have passed a layer before the statistics of its maps are known.
  void run_by_layers(int thread, int team, Cell* active, Real* vector) {
    const Normalisation<Real> norm = normalisation(vector);
    Real *means = vector + 4 * vectors, *variances = vector + 5 * vectors;
    const Range own = bands.of(thread, team);
    for (int64_t index = own.begin; index < own.end; ++index) copy(index);
    int64_t known = 0;
    for (int64_t layer = 0; layer < sizes.layers; ++layer) {
      if (team > 1) barrier();
      const int64_t channels = sizes.inputs(layer);
      merge(known, channels, means, variances);
      if (thread == 0) {
        std::memcpy(mean + known, means + known, sizeof(Real) * static_cast<size_t>(channels - known));
        std::memcpy(var + known, variances + known, sizeof(Real) * static_cast<size_t>(channels - known));
      }
      known = channels;
      norm.set(channels, vectors, means, variances, bn_weight[layer], bn_bias[layer], eps);
      bands.there_and_back(own, layer, [&](const Band& band) { layer_of_band(band, layer, norm, active); });
    }
  }

  // In eval mode, an image passes all layers while it is in the cache.
  void run_by_images(int thread, int team, Cell* active, Real* vector) {
    const bool whole = bands.whole_images;
    const Range own = bands.of(thread, team);
    const int64_t together = whole ? bands.per_image : own.end - own.begin;
    for (int64_t layer = 0; layer < sizes.layers; ++layer)
      normalisation(vector + layer * 4 * vectors)
          .set(sizes.inputs(layer), vectors, running_mean[layer], running_var[layer], bn_weight[layer], bn_bias[layer], eps);
    for (int64_t first = own.begin; first < own.end || (!whole && first == own.begin); first += std::max<int64_t>(together, 1)) {
      for (int64_t index = first; index < first + together; ++index) copy(index);
      for (int64_t layer = 0; layer < sizes.layers; ++layer) {
        if (team > 1 && !whole) barrier();
        const Normalisation<Real> norm = normalisation(vector + layer * 4 * vectors);
        bands.there_and_back({first, first + together}, 0,
                             [&](const Band& band) { layer_of_band(band, layer, norm, active); });
      }
    }
  }

  Normalisation<Real> normalisation(Real* vector) const {
    return {vector, vector + vectors, vector + 2 * vectors, vector + 3 * vectors};
  }
  int64_t vector_bytes() const {
    return round_up(static_cast<int64_t>(sizeof(Real)) * vectors * (training ? 6 : 4 * sizes.layers), 64);
  }
};

}  // namespace fastser

// Parameters are float, or double for double maps. x is dense [image][row][column][channel], kernels [new][in][3][3].
FASTSER_CALL fastser_dense_block_forward(int dtype, const void* x, void* maps, void* mean, void* var,
                                         const void* const* bn_weight, const void* const* bn_bias,
                                         const void* const* running_mean, const void* const* running_var,
                                         const void* const* kernels, int64_t images, int64_t rows, int64_t columns,
                                         int64_t channels, int64_t growth, int64_t layers, bool training, double eps,
                                         int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) -> int {
    using Stored = decltype(stored);
    using Real = Exact<Stored>;
    const auto list = [](const void* const* pointers) { return reinterpret_cast<const Real* const*>(pointers); };
    const DenseSizes sizes{images, rows, columns, channels, growth, layers};
    const int64_t cell_bytes =
        (sizes.inputs(layers - 1) + 1) / Product<Stored>::kDepth * static_cast<int64_t>(sizeof(typename Product<Stored>::Cell));
    DenseForward<Stored> pass{sizes, static_cast<const Stored*>(x), static_cast<Stored*>(maps), static_cast<Real*>(mean),
                              static_cast<Real*>(var), list(bn_weight), list(bn_bias), list(running_mean),
                              list(running_var), list(kernels), training, eps, threads,
                              Bands(sizes, cell_bytes, threads), {}, {}, {}, {}, 0, 0, 0};
    if (!pass.allocate_all()) return kOutOfMemory;
    parallel(threads, [&](int thread, int team) { pass.run(thread, team); });
    return kDone;
  });
}
