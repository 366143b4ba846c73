// A whole DenseBlock backward, from the last layer to the first; the formula stands in dense_block/op.py.
//
// For a band of a layer, the gradient dy of the layer's own maps is laid out twice: [map][pixel] for the gradient of the
// input, and [pixel][map] for the gradient of the kernel. Both are outer products whose vectors are channels. The input
// gradient passes through ReLU and BN while it is still in registers, and leaves behind the activated maps that the
// kernel gradient needs.
#include <memory>

#include "calls.h"
#include "dense_block.h"
#include "transpose.h"

namespace fastser {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kGradientMaps[] = {24, 16, 12, 8, 4, 2, 1};
constexpr int kPixelsOfPair = 12, kPixelsOfOne = 24;  // pixels of a tile with two vectors and with one
#else
constexpr int kGradientMaps[] = {12, 8, 4, 2, 1};
constexpr int kPixelsOfPair = 6, kPixelsOfOne = 12;
#endif

template <class Stored>
struct DenseBackward {
  using Real = Exact<Stored>;
  using V = Vector<Real>;
  using P = Product<Stored>;
  using Cell = typename P::Cell;
  static constexpr int kLength = kLanes<Real>;
  static constexpr int kDepth = P::kDepth;

  DenseSizes sizes;
  const Stored* grad_maps;
  const Stored* maps;
  const Real *mean, *var;
  const Real* const* bn_weight;
  const Real* const* bn_bias;
  const Real* const* running_mean;
  const Real* const* running_var;
  const Real* const* kernels;
  Stored* grad_x;
  Real* const* grad_weight;
  Real* const* grad_bias;
  Real* const* grad_kernel;
  bool training;
  double eps;
  bool input_only;
  int threads;
  Bands bands;

  int64_t stride, places, groups, outputs;  // of `gradient`; cells of a band; groups of new maps; outputs of a band
  Memory<Real> gradient;                    // D of the formula, [pixel][stride]
  Memory<Cell> packed;                      // kernels for the gradient of the input, by layer
  Memory<Real> kernel_sums;                 // [parity][thread][channel][tap][new map]
  Memory<double> sums;                      // [parity][thread][dz, dz xhat][channel]
  Memory<char> scratch;                     // [thread]
  int64_t thread_bytes;

  struct Scratch {
    Cell *by_map, *by_pixel, *active;
    Real* plain;
    Real* vectors;
  };

  // Without sums over all images, each thread can take one image after another through all layers, in the cache.
  bool by_images() const { return !with_sums() && bands.whole_images; }
  bool with_sums() const { return training || !input_only; }
  int64_t read() const { return sizes.inputs(sizes.layers - 1); }
  int64_t packed_of(int64_t layer) const {  // cells of all layers before this one
    int64_t cells = 0;
    for (int64_t i = 0; i < layer; ++i) cells += round_up(sizes.inputs(i), kLength) * 9 * groups;
    return cells;
  }
  int64_t kernel_size() const { return stride * 9 * sizes.growth; }

  bool allocate_all() {
    stride = round_up(read(), kLength);
    groups = (sizes.growth + kDepth - 1) / kDepth;
    outputs = round_up(bands.height * sizes.width(), 24);
    places = round_up(outputs + 2 * sizes.width() + 4, kLength);
    const int64_t bytes[] = {places * groups * static_cast<int64_t>(sizeof(Cell)),
                             (places * sizes.growth + kLength) * static_cast<int64_t>(sizeof(Cell)),
                             outputs * 2 * kLength * static_cast<int64_t>(sizeof(Cell)),
                             (places + 2 * kLength) * sizes.growth * static_cast<int64_t>(sizeof(Real)),
                             stride * 6 * static_cast<int64_t>(sizeof(Real))};
    thread_bytes = 0;
    for (int64_t part : bytes) thread_bytes += round_up(part, 64);
    gradient = allocate<Real>((by_images() ? threads : sizes.images) * sizes.rows * sizes.columns * stride);
    packed = allocate<Cell>(packed_of(sizes.layers));
    scratch = allocate<char>(thread_bytes * threads);
    if (with_sums()) sums = allocate<double>(2 * threads * 2 * stride);
    if (!input_only) kernel_sums = allocate<Real>(2 * threads * kernel_size());
    return gradient && packed && scratch && (sums || !with_sums()) && (kernel_sums || input_only);
  }

  Scratch scratch_of(int thread) const {
    char* memory = scratch.get() + thread * thread_bytes;
    const auto take = [&memory](int64_t bytes) {
      char* part = memory;
      memory += round_up(bytes, 64);
      return part;
    };
    Scratch own;
    own.by_map = reinterpret_cast<Cell*>(take(places * groups * static_cast<int64_t>(sizeof(Cell))));
    own.by_pixel = reinterpret_cast<Cell*>(take((places * sizes.growth + kLength) * static_cast<int64_t>(sizeof(Cell))));
    own.active = reinterpret_cast<Cell*>(take(outputs * 2 * kLength * static_cast<int64_t>(sizeof(Cell))));
    own.plain = reinterpret_cast<Real*>(take((places + 2 * kLength) * sizes.growth * static_cast<int64_t>(sizeof(Real))));
    if constexpr (kDepth == 1) own.by_pixel = own.plain;
    own.vectors = reinterpret_cast<Real*>(take(stride * 6 * static_cast<int64_t>(sizeof(Real))));
    return own;
  }
  double* sums_of(int64_t layer, int thread) const { return sums.get() + ((layer % 2) * threads + thread) * 2 * stride; }
  Real* kernel_sums_of(int64_t layer, int thread) const {
    return kernel_sums.get() + ((layer % 2) * threads + thread) * kernel_size();
  }
  // Number of channels of the tile that begins at channel c.
  int tile_of(int64_t c, int64_t channels) const { return channels - c > kLength ? 2 * kLength : kLength; }

  // Pack a kernel [new][channel][3][3] as [tile of channels][reversed tap][group of new maps][channel in the tile].
  void pack(int64_t layer, Range share_of_groups) {
    const int64_t channels = sizes.inputs(layer);
    Cell* base = packed.get() + packed_of(layer);
    for (int64_t c = 0; c < channels;) {
      const int width = tile_of(c, channels);
      for (int tap = 0; tap < 9; ++tap)
        for (int64_t group = share_of_groups.begin; group < share_of_groups.end; ++group)
          for (int lane = 0; lane < width; ++lane) {
            Real values[2] = {};
            for (int d = 0; d < kDepth; ++d) {
              const int64_t g = group * kDepth + d;
              if (g < sizes.growth && c + lane < channels) values[d] = kernels[layer][(g * channels + c + lane) * 9 + 8 - tap];
            }
            base[c * 9 * groups + (tap * groups + group) * width + lane] = P::cell(values);
          }
      c += width;
    }
  }

  // Lay out the gradient of the layer's own maps, in the band and in its neighbouring rows.
  void lay_out(const Band& band, int64_t kept, int64_t layer, const Real* offset, const Real* slope,
               const Scratch& own) const {
    const int64_t first_map = sizes.inputs(layer), growth = sizes.growth, total = sizes.total(), width = sizes.width();
    const bool last = layer + 1 == sizes.layers;
    for (int64_t row = band.begin - 1; row <= band.end; ++row) {
      Real* to = own.plain + (1 + (row - band.begin + 1) * width) * growth;
      if (row < 0 || row >= sizes.rows) {
        std::memset(to, 0, sizeof(Real) * static_cast<size_t>(sizes.columns * growth));
        continue;
      }
      const int64_t first = (band.image * sizes.rows + row) * sizes.columns;
      const Real* known = gradient.get() + (kept * sizes.rows + row) * sizes.columns * stride;
      for (int64_t g = 0; g < growth; g += kLength) {
        const int lanes = static_cast<int>(std::min<int64_t>(kLength, growth - g));
        const int64_t c = first_map + g;
        V from{}, by{}, center{};
        if (!last && training)
          from = load(offset + c, lanes), by = load(slope + c, lanes), center = load(mean + c, lanes);
        for (int64_t f = 0; f < sizes.columns; ++f) {
          V value = last ? load(grad_maps + (first + f) * total + c, lanes) : load(known + f * stride + c, lanes);
          if (!last && training) value = value - from - by * (load(maps + (first + f) * total + c, lanes) - center);
          store(to + f * growth + g, value, lanes);
        }
      }
    }
    const int64_t used = 1 + (band.height() + 2) * width;  // what a shorter band leaves of the one before is no gradient
    std::memset(own.plain + used * growth, 0, sizeof(Real) * static_cast<size_t>(2 * growth));

    for (int64_t i = 0; i < places; i += kLength)
      for (int64_t g = 0; g < growth; g += kLength) {
        const int lanes = static_cast<int>(std::min<int64_t>(kLength, growth - g));
        V square[kLength];
        for (int k = 0; k < kLength; ++k) square[k] = load(own.plain + (i + k) * growth + g, lanes);
        transpose<Real>(square);
        for (int k = 0; k < lanes; k += kDepth) P::store(own.by_map + (g + k) / kDepth * places + i, square + k);
      }
    if (input_only || kDepth == 1) return;
    for (int64_t i = 0; i < places * growth; i += kLength) {
      const V values[2] = {load(own.plain + i), load(own.plain + i + growth)};
      P::store(own.by_pixel + i, values);
    }
  }

  // Compute the gradient of one tile of channels, pass it through ReLU and BN, and add it to `gradient`.
  template <int Pixels, int Vectors>
  void input_gradient(const Band& band, int64_t kept, int64_t layer, int64_t c, const Normalisation<Real>& norm, const Scratch& own,
                      double* channel_sums) const {
    const int64_t width = sizes.width(), total = sizes.total(), channels = sizes.inputs(layer);
    const bool last = layer + 1 == sizes.layers, keep = with_sums(), keep_active = !input_only;
    const Cell* weights = packed.get() + packed_of(layer) + c * 9 * groups;
    const int64_t first = (band.image * sizes.rows + band.begin) * sizes.columns;
    const int64_t valid = band.height() * width;
    V scale[Vectors], shift[Vectors], center[Vectors], plain[Vectors] = {}, by_deviation[Vectors] = {};
    int lanes[Vectors];
    for (int v = 0; v < Vectors; ++v) {
      const int64_t from = c + v * kLength;
      lanes[v] = static_cast<int>(std::min<int64_t>(kLength, channels - from));
      scale[v] = load(norm.scale + from), shift[v] = load(norm.shift + from), center[v] = load(norm.mean + from);
    }
    Real* known = gradient.get() + (kept * sizes.rows + band.begin) * sizes.columns * stride + c;
    int64_t pixel = first, column = 0, summed = 0;
    const auto flush = [&] {
      for (int v = 0; v < Vectors; ++v) {
        for (int lane = 0; lane < lanes[v]; ++lane) {
          channel_sums[c + v * kLength + lane] += plain[v][lane];
          channel_sums[stride + c + v * kLength + lane] += by_deviation[v][lane];
        }
        plain[v] = by_deviation[v] = V{};
      }
      summed = 0;
    };
    for (int64_t q = 0; q < valid; q += Pixels) {
      Tile<P, Pixels, Vectors> tile;
      tile.clear();
      const Cell* w = weights;
      for (int kr = 0; kr < 3; ++kr)
        for (int kc = 0; kc < 3; ++kc) {
          const Cell* dy = own.by_map + q + kr * width + kc;
          for (int64_t group = 0; group < groups; ++group, dy += places, w += Vectors * kLength) tile.add(w, dy);
        }
#pragma GCC unroll 24
      for (int p = 0; p < Pixels; p += kDepth) {
        V active[Vectors][kDepth] = {};
#pragma GCC unroll 2
        for (int d = 0; d < kDepth; ++d) {
          const bool real = q + p + d < valid && column < sizes.columns;
          if (real) {
#pragma GCC unroll 2
            for (int v = 0; v < Vectors; ++v) {
              const int64_t from = c + v * kLength;
              const V x = load(maps + pixel * total + from, lanes[v]);
              const V z = x * scale[v] + shift[v];
              const V dz = z <= 0 ? V{} : tile.sums[p + d][v];
              Real* place = known + v * kLength;
              const V before = last ? load(grad_maps + pixel * total + from, lanes[v]) : load(place);
              store(place, before + scale[v] * dz);
              if (keep) plain[v] += dz, by_deviation[v] += dz * (x - center[v]);
              active[v][d] = relu(z);
            }
            ++pixel, known += stride;
          }
          if (++column == width) column = 0;
        }
        if (keep_active)
#pragma GCC unroll 2
          for (int v = 0; v < Vectors; ++v)
            P::store(own.active + ((q + p) / kDepth * Vectors + v) * kLength, active[v]);
      }
      if (keep && (summed += Pixels) >= 256) flush();
    }
    if (keep) flush();
  }

  // Add the gradient of the kernel for one vector of channels and one tile of new maps, over the band.
  template <int Maps>
  void kernel_gradient(const Band& band, const Scratch& own, int vector, int vectors, int64_t first_map, Real* to) const {
    const int64_t width = sizes.width(), growth = sizes.growth;
    const int64_t rows = (band.height() * width + kDepth - 1) / kDepth;
    for (int tap = 0; tap < 9; ++tap) {
      Tile<P, Maps, 1> tile;
      tile.clear();
      const Cell* active = own.active + vector * kLength;
      const Cell* dy = own.by_pixel + (tap / 3 * width + tap % 3) * growth + first_map;
      for (int64_t i = 0; i < rows; ++i, active += vectors * kLength, dy += kDepth * growth) tile.add(active, dy);
#pragma GCC unroll 24
      for (int s = 0; s < Maps; ++s) {
        Real* place = to + ((tap * growth + first_map + s) * vectors + vector) * kLength;
        store(place, load(place) + tile.sums[s][0]);
      }
    }
  }

  void kernel_gradients(const Band& band, const Scratch& own, int vectors, Real* to) const {
    for (int vector = 0; vector < vectors; ++vector)
      for (int64_t g = 0; g < sizes.growth;) {
        const int tile = next_tile(static_cast<int>(sizes.growth - g), kGradientMaps);
        switch (tile) {
#if defined(__AVX512F__) || defined(__aarch64__)
          case 24: kernel_gradient<24>(band, own, vector, vectors, g, to); break;
          case 16: kernel_gradient<16>(band, own, vector, vectors, g, to); break;
#endif
          case 12: kernel_gradient<12>(band, own, vector, vectors, g, to); break;
          case 8: kernel_gradient<8>(band, own, vector, vectors, g, to); break;
          case 4: kernel_gradient<4>(band, own, vector, vectors, g, to); break;
          case 2: kernel_gradient<2>(band, own, vector, vectors, g, to); break;
          default: kernel_gradient<1>(band, own, vector, vectors, g, to); break;
        }
        g += tile;
      }
  }

  // Finish a layer whose sums all threads have added up: A and B of the formula, and the gradients of its parameters.
  void finish(int64_t layer, int thread, int team, const Scratch& scratch_of_thread) const {
    const Normalisation<Real> norm = normalisation(scratch_of_thread);
    Real *offset = scratch_of_thread.vectors + 4 * stride, *slope = offset + stride;
    const int64_t channels = sizes.inputs(layer);
    const double values = static_cast<double>(sizes.pixels());
    const Range own = share(channels, thread, team);
    for (int64_t c = 0; c < channels; ++c) {
      double dz = 0, dz_xhat = 0;
      for (int other = 0; other < team; ++other) {
        dz += sums_of(layer, other)[c];
        dz_xhat += sums_of(layer, other)[stride + c];
      }
      dz_xhat *= norm.rstd[c];
      if (training && values > 0) {
        offset[c] += static_cast<Real>(norm.scale[c] * dz / values);
        slope[c] += static_cast<Real>(norm.rstd[c] * norm.scale[c] * dz_xhat / values);
      }
      if (!input_only && c >= own.begin && c < own.end) {
        grad_weight[layer][c] = static_cast<Real>(dz_xhat);
        grad_bias[layer][c] = static_cast<Real>(dz);
      }
    }
    if (input_only) return;
    for (int64_t c = own.begin; c < own.end; ++c) {
      const int64_t begin = c / (2 * kLength) * (2 * kLength), lane = c - begin;
      const int width = tile_of(begin, channels);
      for (int64_t g = 0; g < sizes.growth; ++g)
        for (int tap = 0; tap < 9; ++tap) {
          Real sum = 0;
          const int64_t place = begin * 9 * sizes.growth + (tap * sizes.growth + g) * width + lane;
          for (int other = 0; other < team; ++other) sum += kernel_sums_of(layer, other)[place];
          grad_kernel[layer][(g * channels + c) * 9 + 8 - tap] = sum;
        }
    }
  }

  void run(int thread, int team) {
    const Scratch own = scratch_of(thread);
    std::memset(own.plain, 0, sizeof(Real) * static_cast<size_t>((places + 2 * kLength) * sizes.growth));
    std::memset(own.vectors, 0, sizeof(Real) * static_cast<size_t>(6 * stride));
    for (int64_t layer = 0; layer < sizes.layers; ++layer) pack(layer, share(groups, thread, team));
    if (team > 1) barrier();
    const Range bands_of_thread = bands.of(thread, team);
    if (!by_images()) return run_by_layers(thread, team, bands_of_thread, own);
    for (int64_t begin = bands_of_thread.begin; begin < bands_of_thread.end; begin += bands.per_image) {
      const Range image{begin, begin + bands.per_image};
      for (int64_t layer = sizes.layers - 1; layer >= 0; --layer) run_layer(layer, thread, image, own);
      write_all(image, thread, own);
    }
  }

  void run_by_layers(int thread, int team, Range own_bands, const Scratch& own) {
    for (int64_t layer = sizes.layers - 1; layer >= 0; --layer) {
      if (with_sums()) {
        std::memset(sums_of(layer, thread), 0, sizeof(double) * static_cast<size_t>(2 * stride));
        if (!input_only) std::memset(kernel_sums_of(layer, thread), 0, sizeof(Real) * static_cast<size_t>(kernel_size()));
      }
      run_layer(layer, thread, own_bands, own);
      if (team > 1) barrier();
      if (with_sums()) finish(layer, thread, team, own);
    }
    write_all(own_bands, -1, own);
  }

  // Run a layer over some bands. By images, `gradient` holds one image per thread.
  void run_layer(int64_t layer, int thread, Range some, const Scratch& own) {
    const Normalisation<Real> norm = normalisation(own);
    const int64_t channels = sizes.inputs(layer);
    norm.set(channels, stride, training ? mean : running_mean[layer], training ? var : running_var[layer],
             bn_weight[layer], bn_bias[layer], eps);
    double* channel_sums = with_sums() ? sums_of(layer, thread) : nullptr;
    Real* own_kernel = input_only ? nullptr : kernel_sums_of(layer, thread);
    bands.there_and_back(some, layer, [&](const Band& band) {
      const int64_t kept = with_sums() || !by_images() ? band.image : thread;
      lay_out(band, kept, layer, own.vectors + 4 * stride, own.vectors + 5 * stride, own);
      for (int64_t c = 0; c < channels;) {
        const int width = tile_of(c, channels);
        if (width == kLength)
          input_gradient<kPixelsOfOne, 1>(band, kept, layer, c, norm, own, channel_sums);
        else
          input_gradient<kPixelsOfPair, 2>(band, kept, layer, c, norm, own, channel_sums);
        if (own_kernel) kernel_gradients(band, own, width / kLength, own_kernel + c * 9 * sizes.growth);
        c += width;
      }
    });
  }

  Normalisation<Real> normalisation(const Scratch& own) const {
    return {own.vectors, own.vectors + stride, own.vectors + 2 * stride, own.vectors + 3 * stride};
  }

  void write_all(Range some, int keeper, const Scratch& own) const {
    for (int64_t index = some.begin; index < some.end; ++index) {
      const Band band(bands, index, false);
      write(band, keeper < 0 ? band.image : keeper, own.vectors + 4 * stride, own.vectors + 5 * stride);
    }
  }

  // Write the gradient of the input in a band.
  void write(const Band& band, int64_t kept, const Real* offset, const Real* slope) const {
    const int64_t first = (band.image * sizes.rows + band.begin) * sizes.columns, channels = sizes.channels;
    const Real* known = gradient.get() + (kept * sizes.rows + band.begin) * sizes.columns * stride;
    for (int64_t c = 0; c < channels; c += kLength) {
      const int lanes = static_cast<int>(std::min<int64_t>(kLength, channels - c));
      const V from = load(offset + c), by = load(slope + c);
      const V center = training ? load(mean + c, lanes) : V{};
      for (int64_t i = first; i < first + band.height() * sizes.columns; ++i) {
        V value = load(known + (i - first) * stride + c);
        if (training) value = value - from - by * (load(maps + i * sizes.total() + c, lanes) - center);
        store(grad_x + i * channels + c, value, lanes);
      }
    }
  }
};

}  // namespace fastser

// Parameters and their gradients are float, or double for double maps; gradients are written where not `input_only`.
FASTSER_CALL fastser_dense_block_backward(int dtype, const void* grad_maps, const void* maps, const void* mean,
                                          const void* var, const void* const* bn_weight, const void* const* bn_bias,
                                          const void* const* running_mean, const void* const* running_var,
                                          const void* const* kernels, void* grad_x, void* const* grad_weight,
                                          void* const* grad_bias, void* const* grad_kernel, int64_t images, int64_t rows,
                                          int64_t columns, int64_t channels, int64_t growth, int64_t layers,
                                          bool training, double eps, bool input_only, int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) -> int {
    using Stored = decltype(stored);
    using Real = Exact<Stored>;
    const auto list = [](const void* const* pointers) { return reinterpret_cast<const Real* const*>(pointers); };
    const auto written = [](void* const* pointers) { return reinterpret_cast<Real* const*>(pointers); };
    const DenseSizes sizes{images, rows, columns, channels, growth, layers};
    const int64_t cell_bytes = static_cast<int64_t>(sizeof(Real)) * (3 * growth + 2 * kLanes<Real>);
    DenseBackward<Stored> pass{sizes,
                               static_cast<const Stored*>(grad_maps),
                               static_cast<const Stored*>(maps),
                               static_cast<const Real*>(mean),
                               static_cast<const Real*>(var),
                               list(bn_weight),
                               list(bn_bias),
                               list(running_mean),
                               list(running_var),
                               list(kernels),
                               static_cast<Stored*>(grad_x),
                               written(grad_weight),
                               written(grad_bias),
                               written(grad_kernel),
                               training,
                               eps,
                               input_only,
                               threads,
                               Bands(sizes, cell_bytes, threads),
                               0, 0, 0, 0, {}, {}, {}, {}, {}, 0};
    if (!pass.allocate_all()) return kOutOfMemory;
    parallel(threads, [&](int thread, int team) { pass.run(thread, team); });
    return kDone;
  });
}
