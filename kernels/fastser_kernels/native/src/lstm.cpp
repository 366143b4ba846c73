// The recurrence of an LSTM and its gradient; the formulas stand in lstm/op.py. Maps are time-major: projected, gates
// and their gradients [T][N][4H], hidden states and cells [T][N][H].
//
// Samples are independent. Each thread takes a share of them and runs all steps of a few samples at once, so threads
// meet only once, after the recurrent weights are packed. Forward, a panel of weights yields the four gates of one
// vector of units, and cells and hidden states follow while the gates are in registers.
#include <algorithm>

#include "activations.h"
#include "calls.h"
#include "panels.h"
#include "parallel.h"

namespace fastser {
namespace {

struct Sizes {
  int64_t steps, batch, units;
};

// Strides of a map that was not made here; its units are adjacent.
struct Strides {
  int64_t step, sample;
};

constexpr int kGates = 4;
constexpr int kUnitVectors = 2;  // vectors of units in a panel of the backward pass

template <class Stored>
struct Forward {
  using P = Product<Stored>;
  using Real = Exact<Stored>;
  using V = Vector<Real>;
  static constexpr int lanes = kLanes<Real>;

  Sizes size;
  bool reverse;
  Strides strides;
  const Stored *projected, *weights;
  Stored *hidden, *gates;
  Real* cell;
  typename P::Cell* panels;
  int64_t depth = depth_of<P>(size.units), panel_cells = depth * kGates * lanes;

  void pack_share(int thread, int team) const {
    const int64_t square = size.units * size.units;
    const Stored* const matrices[kGates] = {weights, weights + square, weights + 2 * square, weights + 3 * square};
    const Range blocks = share(padded<Real>(size.units) / lanes, thread, team);
    for (int64_t b = blocks.begin; b < blocks.end; ++b)
      pack_transposed<P>(panels + b * panel_cells, matrices, size.units, size.units, b * lanes);
  }

  // Run all steps of `Rows` samples. `states` has room for the hidden states of two steps.
  template <int Rows>
  void run(int64_t first, Factor<P>* states) const {
    const int64_t width = padded<Real>(size.units);
    Factor<P>*before = states, *after = states + Rows * width;
    std::fill(before, after, Factor<P>{});
    for (int64_t step = 0; step < size.steps; ++step, std::swap(before, after)) {
      const int64_t t = reverse ? size.steps - 1 - step : step;
      for (int64_t unit = 0; unit < size.units; unit += lanes) {
        alignas(64) Real sums[Rows][kGates * lanes];
        multiply<P, Rows, kGates>(sums[0], kGates * lanes, before, width, panels + unit / lanes * panel_cells,
                                  step > 0 ? depth : 0);
        for (int s = 0; s < Rows; ++s)
          store(after + s * width + unit, finish(sums[s], t, step > 0, first + s, unit));
      }
    }
  }

  // Store gates, cell and hidden state of one vector of units, and return the hidden state, zero beyond the units.
  V finish(const Real* sums, int64_t t, bool has_past, int64_t sample, int64_t unit) const {
    const int64_t H = size.units, row = t * size.batch + sample;
    const int count = static_cast<int>(std::min<int64_t>(H - unit, lanes));
    const Stored* input = projected + t * strides.step + sample * strides.sample + unit;
    Stored* gate = gates + row * kGates * H + unit;
    Real* c = cell + row * H + unit;
    const V past = has_past ? load(c + (reverse ? size.batch : -size.batch) * H, count) : V{};
    const V i = sigmoid(load(input, count) + load(sums)), f = sigmoid(load(input + H, count) + load(sums + lanes));
    const V g = hyperbolic_tangent(load(input + 2 * H, count) + load(sums + 2 * lanes));
    const V o = sigmoid(load(input + 3 * H, count) + load(sums + 3 * lanes));
    const V now = f * past + i * g, state = o * hyperbolic_tangent(now);
    store(gate, i, count);
    store(gate + H, f, count);
    store(gate + 2 * H, g, count);
    store(gate + 3 * H, o, count);
    store(c, now, count);
    store(hidden + row * H + unit, state, count);
    return state;
  }
};

template <class Stored>
struct Backward {
  using P = Product<Stored>;
  using Real = Exact<Stored>;
  using V = Vector<Real>;
  static constexpr int lanes = kLanes<Real>, kColumns = kUnitVectors * lanes;

  Sizes size;
  bool reverse;
  Strides strides;
  const Stored *grad_hidden, *weights, *gates;
  const Real* cell;
  Stored* grad_projected;
  typename P::Cell* panels;
  int64_t depth = depth_of<P>(kGates * size.units), panel_cells = depth * kColumns;

  void pack_share(int thread, int team) const {
    const Range blocks = share((size.units + kColumns - 1) / kColumns, thread, team);
    for (int64_t b = blocks.begin; b < blocks.end; ++b)
      pack<P, kUnitVectors>(panels + b * panel_cells, weights, kGates * size.units, size.units, b * kColumns);
  }

  // Run all steps of `Rows` samples. `rows` has room for the gradients of the gates, `sums` for those of the cells and
  // for the gradients of the hidden states through the later step.
  template <int Rows>
  void run(int64_t first, Factor<P>* rows, Real* sums) const {
    const int64_t width = (size.units + kColumns - 1) / kColumns * kColumns;
    const int64_t row_width = kGates * size.units + lanes;
    Real *grad_cell = sums, *through_later = sums + Rows * width;
    std::fill(sums, sums + 2 * Rows * width, Real{});
    std::fill(rows, rows + Rows * row_width, Factor<P>{});
    for (int64_t step = size.steps - 1; step >= 0; --step) {
      const int64_t t = reverse ? size.steps - 1 - step : step;
      for (int s = 0; s < Rows; ++s)
        for (int64_t unit = 0; unit < size.units; unit += lanes)
          gradients(t, step > 0, first + s, unit, rows + s * row_width + unit, grad_cell + s * width + unit,
                    through_later + s * width + unit);
      if (step == 0) return;
      for (int64_t unit = 0; unit < size.units; unit += kColumns)
        multiply<P, Rows, kUnitVectors>(through_later + unit, width, rows, row_width,
                                        panels + unit / kColumns * panel_cells, depth);
    }
  }

  // Store the gradients of the gates of one vector of units, for the caller and as factors, and carry on that of the
  // cell.
  void gradients(int64_t t, bool has_past, int64_t sample, int64_t unit, Factor<P>* row, Real* grad_cell,
                 const Real* through_later) const {
    const int64_t H = size.units, at = t * size.batch + sample;
    const int count = static_cast<int>(std::min<int64_t>(H - unit, lanes));
    const Stored* gate = gates + at * kGates * H + unit;
    const Real* c = cell + at * H + unit;
    const V i = load(gate, count), f = load(gate + H, count), g = load(gate + 2 * H, count);
    const V o = load(gate + 3 * H, count), tanh_cell = hyperbolic_tangent(load(c, count));
    const V past = has_past ? load(c + (reverse ? size.batch : -size.batch) * H, count) : V{};
    const V own = load(grad_hidden + t * strides.step + sample * strides.sample + unit, count);
    const V one = broadcast(Real{1}), grad_h = own + load_exact(through_later);
    const V grad_c = load_exact(grad_cell) + grad_h * o * (one - tanh_cell * tanh_cell);
    store_exact(grad_cell, grad_c * f);
    const V slopes[kGates] = {grad_c * g * i * (one - i), grad_c * past * f * (one - f), grad_c * i * (one - g * g),
                              grad_h * tanh_cell * o * (one - o)};
    Stored* result = grad_projected + at * kGates * H + unit;
    for (int k = 0; k < kGates; ++k) {
      store(result + k * H, slopes[k], count);
      store(row + k * H, slopes[k], count);
    }
  }
};

}  // namespace
}  // namespace fastser

FASTSER_CALL fastser_lstm_forward(int dtype, const void* projected, const void* w_hh, void* hidden, void* gates,
                                  void* cell, int64_t steps, int64_t batch, int64_t units, int64_t stride_t,
                                  int64_t stride_n, bool reverse, int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) -> int {
    using Stored = decltype(stored);
    using Run = Forward<Stored>;
    Run run{{steps, batch, units}, reverse, {stride_t, stride_n}, static_cast<const Stored*>(projected),
            static_cast<const Stored*>(w_hh), static_cast<Stored*>(hidden), static_cast<Stored*>(gates),
            static_cast<typename Run::Real*>(cell), nullptr};
    constexpr int most = kTileRows<kGates>;
    const int64_t width = padded<typename Run::Real>(units), part = 2 * most * width;
    auto panels = allocate<typename Run::P::Cell>(width / Run::lanes * run.panel_cells);
    auto states = allocate<Factor<typename Run::P>>(threads * part);
    if (!panels || !states) return kOutOfMemory;
    run.panels = panels.get();
    parallel(threads, [&](int thread, int team) {
      run.pack_share(thread, team);
      barrier();
      const Range samples = share(batch, thread, team);
      for_tiles<most>(samples.begin, samples.end, [&](int64_t first, auto rows) {
        run.template run<decltype(rows)::value>(first, states.get() + thread * part);
      });
    });
    return kDone;
  });
}

FASTSER_CALL fastser_lstm_backward(int dtype, const void* grad_hidden, const void* w_hh, const void* gates,
                                   const void* cell, void* grad_projected, int64_t steps, int64_t batch, int64_t units,
                                   int64_t stride_t, int64_t stride_n, bool reverse, int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) -> int {
    using Stored = decltype(stored);
    using Run = Backward<Stored>;
    using Real = typename Run::Real;
    Run run{{steps, batch, units}, reverse, {stride_t, stride_n}, static_cast<const Stored*>(grad_hidden),
            static_cast<const Stored*>(w_hh), static_cast<const Stored*>(gates), static_cast<const Real*>(cell),
            static_cast<Stored*>(grad_projected), nullptr};
    constexpr int most = kTileRows<kUnitVectors>;
    const int64_t blocks = (units + Run::kColumns - 1) / Run::kColumns, part = 2 * most * blocks * Run::kColumns;
    const int64_t row_part = most * (kGates * units + Run::lanes);
    auto panels = allocate<typename Run::P::Cell>(blocks * run.panel_cells);
    auto rows = allocate<Factor<typename Run::P>>(threads * row_part);
    auto sums = allocate<Real>(threads * part);
    if (!panels || !rows || !sums) return kOutOfMemory;
    run.panels = panels.get();
    parallel(threads, [&](int thread, int team) {
      run.pack_share(thread, team);
      barrier();
      const Range samples = share(batch, thread, team);
      for_tiles<most>(samples.begin, samples.end, [&](int64_t first, auto number) {
        run.template run<decltype(number)::value>(first, rows.get() + thread * row_part, sums.get() + thread * part);
      });
    });
    return kDone;
  });
}
