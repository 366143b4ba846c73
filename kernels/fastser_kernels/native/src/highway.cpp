// A highway network and its gradient; the formulas stand in highway/op.py. Features are [N][U], weights [U][U].
//
// Samples are independent: each thread takes a share of them through all layers, a few samples at once. Threads meet
// after the weights are packed and, in the backward pass, before the gradients of the parameters, which are shared out
// by rows of the weights and summed over the samples.
#include <algorithm>

#include "activations.h"
#include "calls.h"
#include "panels.h"
#include "parallel.h"

namespace fastser {
namespace {

struct Sizes {
  int64_t samples, units, layers;
};

// The tensors of all layers.
template <class Value, class Void>
Value* const* tensors(Void* const* addresses) {
  return reinterpret_cast<Value* const*>(addresses);
}

constexpr int kVectors = 2;  // forward the hidden units and their gates, backward two vectors of units

template <class Stored>
struct Highway {
  using Real = Exact<Stored>;
  using P = Single<Real>;
  using V = Vector<Real>;
  static constexpr int lanes = kLanes<Real>, kColumns = kVectors * lanes, most = kTileRows<kVectors>;

  Sizes size;
  Real* panels;

  int64_t width() const { return padded<Real>(size.units); }
  int64_t blocks() const { return (size.units + kColumns - 1) / kColumns; }
  int count(int64_t unit) const { return static_cast<int>(std::min<int64_t>(size.units - unit, lanes)); }
};

template <class Stored>
struct Forward : Highway<Stored> {
  using Base = Highway<Stored>;
  using typename Base::P, typename Base::Real, typename Base::V;
  using Base::lanes, Base::size, Base::panels;

  const Stored* x;
  const Real *const *w_h, *const *b_h, *const *w_t, *const *b_t;
  Stored *const *results, *const *hidden, *const *gates;

  int64_t panel_values() const { return size.units * kVectors * lanes; }
  int64_t layer_values() const { return this->width() / lanes * panel_values(); }

  void pack_share(int thread, int team) const {
    const int64_t vectors = this->width() / lanes;
    const Range items = share(size.layers * vectors, thread, team);
    for (int64_t item = items.begin; item < items.end; ++item) {
      const int64_t layer = item / vectors, block = item % vectors;
      const Real* const matrices[kVectors] = {w_h[layer], w_t[layer]};
      pack_transposed<P>(panels + item * panel_values(), matrices, size.units, size.units, block * lanes);
    }
  }

  // Run all layers for `Rows` samples. `rows` has room for the features before and after a layer.
  template <int Rows>
  void run(int64_t first, Real* rows) const {
    const int64_t width = this->width();
    Real *before = rows, *after = rows + Rows * width;
    for (int s = 0; s < Rows; ++s)
      for (int64_t unit = 0; unit < size.units; unit += lanes)
        store(before + s * width + unit, load(x + (first + s) * size.units + unit, this->count(unit)));
    for (int64_t layer = 0; layer < size.layers; ++layer, std::swap(before, after))
      for (int64_t unit = 0; unit < size.units; unit += lanes) {
        alignas(64) Real sums[Rows][kVectors * lanes];
        const Real* panel = panels + layer * layer_values() + unit / lanes * panel_values();
        multiply<P, Rows, kVectors>(sums[0], kVectors * lanes, before, width, panel, size.units);
        for (int s = 0; s < Rows; ++s)
          store(after + s * width + unit, finish(sums[s], load(before + s * width + unit), layer, first + s, unit));
      }
  }

  // Store hidden units, gates and result of one vector of units, and return the result.
  V finish(const Real* sums, V input, int64_t layer, int64_t sample, int64_t unit) const {
    const int number = this->count(unit);
    const int64_t at = sample * size.units + unit;
    const V h = relu(load(sums) + load(b_h[layer] + unit, number));
    const V t = sigmoid(load(sums + lanes) + load(b_t[layer] + unit, number));
    const V y = input + t * (h - input);
    store(hidden[layer] + at, h, number);
    store(gates[layer] + at, t, number);
    store(results[layer] + at, y, number);
    return y;
  }
};

template <class Stored>
struct Backward : Highway<Stored> {
  using Base = Highway<Stored>;
  using typename Base::P, typename Base::Real, typename Base::V;
  using Base::lanes, Base::kColumns, Base::size, Base::panels;

  const Stored *grad, *const *inputs, *const *hidden, *const *gates;
  const Real *const *w_h, *const *w_t;
  Stored* grad_x;
  Real *const *grad_w_h, *const *grad_b_h, *const *grad_w_t, *const *grad_b_t;
  Real* slopes;  // gradients before the ReLUs and before the sigmoids, [layers][samples][2 U]

  int64_t panel_values() const { return size.units * kColumns; }

  // Pack a layer as [blocks][2 U][columns]: the weights of the hidden units above those of the gates.
  void pack_share(int thread, int team) const {
    const int64_t U = size.units;
    const int64_t blocks = this->blocks();
    const Range items = share(size.layers * blocks, thread, team);
    for (int64_t item = items.begin; item < items.end; ++item) {
      const int64_t layer = item / blocks, column = item % blocks * kColumns;
      Real* panel = panels + 2 * item * panel_values();
      pack<P, kVectors>(panel, w_h[layer], U, U, column);
      pack<P, kVectors>(panel + panel_values(), w_t[layer], U, U, column);
    }
  }

  // Run all layers for `Rows` samples. `grads` has room for the gradient of their features.
  template <int Rows>
  void run(int64_t first, Real* grads) const {
    const int64_t U = size.units, blocks = this->blocks(), columns = blocks * kColumns;
    for (int s = 0; s < Rows; ++s)
      for (int64_t unit = 0; unit < U; unit += lanes)
        store(grads + s * columns + unit, load(grad + (first + s) * U + unit, this->count(unit)));
    for (int64_t layer = size.layers - 1; layer >= 0; --layer) {
      Real* rows = slopes + (layer * size.samples + first) * 2 * U;
      for (int s = 0; s < Rows; ++s)
        for (int64_t unit = 0; unit < U; unit += lanes)
          step(layer, first + s, unit, grads + s * columns + unit, rows + s * 2 * U + unit);
      for (int64_t unit = 0; unit < U; unit += kColumns) {
        alignas(64) Real sums[Rows][kColumns];
        const Real* panel = panels + 2 * (layer * blocks + unit / kColumns) * panel_values();
        multiply<P, Rows, kVectors>(sums[0], kColumns, rows, 2 * U, panel, 2 * U);
        for (int s = 0; s < Rows; ++s)
          for (int v = 0; v < kColumns; v += lanes) {
            Real* place = grads + s * columns + unit + v;
            store(place, load(place) + load(sums[s] + v));
          }
      }
    }
    for (int s = 0; s < Rows; ++s)
      for (int64_t unit = 0; unit < U; unit += lanes)
        store(grad_x + (first + s) * U + unit, load(grads + s * columns + unit), this->count(unit));
  }

  // Store the gradients before the ReLU and the sigmoid, and leave the gradient that passes the gate in `place`.
  void step(int64_t layer, int64_t sample, int64_t unit, Real* place, Real* slope) const {
    const int number = this->count(unit);
    const int64_t at = sample * size.units + unit;
    const V h = load(hidden[layer] + at, number), t = load(gates[layer] + at, number), q = load(place);
    const V passed = q * t, difference = h - load(inputs[layer] + at, number);
    store(slope, h <= 0 ? V{} : passed, number);  // a NaN passes, as in torch.relu
    store(slope + size.units, passed * (broadcast(Real{1}) - t) * difference, number);
    store(place, q - passed);
  }

  // Compute a share of the gradients of the parameters, by tiles of rows of the weights.
  void parameters(int thread, int team) const {
    const int64_t U = size.units, tiles = (2 * U + Base::most - 1) / Base::most;
    const Range items = share(size.layers * tiles, thread, team);
    for (int64_t item = items.begin; item < items.end; ++item) {
      const int64_t layer = item / tiles, begin = item % tiles * Base::most;
      for_tiles<Base::most>(begin, std::min<int64_t>(begin + Base::most, 2 * U), [&](int64_t first, auto rows) {
        weight_rows<decltype(rows)::value>(layer, first);
      });
    }
  }

  // Compute the gradients of `Rows` rows of [w_h, w_t] and of their biases.
  template <int Rows>
  void weight_rows(int64_t layer, int64_t first) const {
    const int64_t U = size.units;
    const Real* slope = slopes + layer * size.samples * 2 * U + first;
    double bias[Rows] = {};
    for (int64_t n = 0; n < size.samples; ++n)
      for (int s = 0; s < Rows; ++s) bias[s] += slope[n * 2 * U + s];
    for (int64_t unit = 0; unit < U; unit += kColumns) {
      Tile<P, Rows, kVectors> tile;
      tile.clear();
      for (int64_t n = 0; n < size.samples; ++n) {
        alignas(64) Real values[kColumns];
        for (int v = 0; v < kVectors; ++v) {
          const int64_t column = std::min(unit + v * lanes, U);
          store(values + v * lanes, load(inputs[layer] + n * U + column, this->count(column)));
        }
        tile.add(values, slope + n * 2 * U);
      }
      alignas(64) Real sums[Rows][kColumns];
      store_sums(tile, sums[0], kColumns);
      for (int s = 0; s < Rows; ++s) {
        const bool gate = first + s >= U;
        const int64_t row = first + s - (gate ? U : 0);
        Real* weight = (gate ? grad_w_t : grad_w_h)[layer] + row * U + unit;
        (gate ? grad_b_t : grad_b_h)[layer][row] = static_cast<Real>(bias[s]);
        for (int64_t v = 0; v < std::min<int64_t>(kColumns, U - unit); v += lanes)
          store(weight + v, load(sums[s] + v), this->count(unit + v));
      }
    }
  }
};

}  // namespace
}  // namespace fastser

FASTSER_CALL fastser_highway_forward(int dtype, const void* x, const void* const* w_h, const void* const* b_h,
                                     const void* const* w_t, const void* const* b_t, void* const* results,
                                     void* const* hidden, void* const* gates, int64_t samples, int64_t units,
                                     int64_t layers, int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) -> int {
    using Stored = decltype(stored);
    using Run = Forward<Stored>;
    using Real = typename Run::Real;
    Run run;
    run.size = {samples, units, layers};
    run.x = static_cast<const Stored*>(x);
    run.w_h = tensors<const Real>(w_h), run.b_h = tensors<const Real>(b_h);
    run.w_t = tensors<const Real>(w_t), run.b_t = tensors<const Real>(b_t);
    run.results = tensors<Stored>(results), run.hidden = tensors<Stored>(hidden), run.gates = tensors<Stored>(gates);
    const int64_t part = 2 * Run::most * run.width();
    auto panels = allocate<Real>(layers * run.layer_values());
    auto rows = allocate<Real>(threads * part);
    if (!panels || !rows) return kOutOfMemory;
    run.panels = panels.get();
    parallel(threads, [&](int thread, int team) {
      run.pack_share(thread, team);
      barrier();
      const Range own = share(samples, thread, team);
      for_tiles<Run::most>(own.begin, own.end, [&](int64_t first, auto number) {
        run.template run<decltype(number)::value>(first, rows.get() + thread * part);
      });
    });
    return kDone;
  });
}

FASTSER_CALL fastser_highway_backward(int dtype, const void* grad, const void* const* inputs, const void* const* hidden,
                                      const void* const* gates, const void* const* w_h, const void* const* w_t,
                                      void* grad_x, void* const* grad_w_h, void* const* grad_b_h,
                                      void* const* grad_w_t, void* const* grad_b_t, int64_t samples, int64_t units,
                                      int64_t layers, bool input_only, int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) -> int {
    using Stored = decltype(stored);
    using Run = Backward<Stored>;
    using Real = typename Run::Real;
    Run run;
    run.size = {samples, units, layers};
    run.grad = static_cast<const Stored*>(grad), run.grad_x = static_cast<Stored*>(grad_x);
    run.inputs = tensors<const Stored>(inputs), run.hidden = tensors<const Stored>(hidden);
    run.gates = tensors<const Stored>(gates);
    run.w_h = tensors<const Real>(w_h), run.w_t = tensors<const Real>(w_t);
    run.grad_w_h = tensors<Real>(grad_w_h), run.grad_b_h = tensors<Real>(grad_b_h);
    run.grad_w_t = tensors<Real>(grad_w_t), run.grad_b_t = tensors<Real>(grad_b_t);
    const int64_t part = Run::most * run.blocks() * Run::kColumns;
    auto panels = allocate<Real>(2 * layers * run.blocks() * run.panel_values());
    auto grads = allocate<Real>(threads * part);
    auto slopes = allocate<Real>(2 * layers * samples * units);
    if (!panels || !grads || !slopes) return kOutOfMemory;
    run.panels = panels.get(), run.slopes = slopes.get();
    parallel(threads, [&](int thread, int team) {
      run.pack_share(thread, team);
      barrier();
      const Range own = share(samples, thread, team);
      for_tiles<Run::most>(own.begin, own.end, [&](int64_t first, auto number) {
        run.template run<decltype(number)::value>(first, grads.get() + thread * part);
      });
      if (input_only) return;
      barrier();
      run.parameters(thread, team);
    });
    return kDone;
  });
}
