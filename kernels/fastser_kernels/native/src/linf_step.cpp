// One step of a projected gradient attack in the L-infinity norm; the formula stands in linf_step/op.py.
#include "calls.h"
#include "parallel.h"

namespace fastser {

template <class Stored>
void step(Range range, Stored* adv, const Stored* clean, const Stored* grad, double alpha, double eps, double low,
          double high) {
  using Real = Exact<Stored>;
  using V = Vector<Real>;
  constexpr int lanes = kLanes<Real>;
  const V up = broadcast(static_cast<Real>(alpha)), radius = broadcast(static_cast<Real>(eps));
  const V least = broadcast(static_cast<Real>(low)), most = broadcast(static_cast<Real>(high));
  for (int64_t i = range.begin; i < range.end; i += lanes) {
    const int count = range.end - i < lanes ? static_cast<int>(range.end - i) : lanes;
    const V slope = load(grad + i, count), x0 = load(clean + i, count);
    const V move = slope > 0 ? up : (slope < 0 ? -up : slope * up);  // 0 stays 0, NaN stays NaN
    const V change = clamp(load(adv + i, count) + move - x0, -radius, radius);
    store(adv + i, clamp(x0 + change, least, most), count);
  }
}

}  // namespace fastser

FASTSER_CALL fastser_linf_step(int dtype, void* adv, const void* clean, const void* grad, int64_t values, double alpha,
                               double eps, double low, double high, int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) {
    using Stored = decltype(stored);
    parallel(threads, [&](int thread, int team) {
      step(share(values, thread, team), static_cast<Stored*>(adv), static_cast<const Stored*>(clean),
           static_cast<const Stored*>(grad), alpha, eps, low, high);
    });
    return kDone;
  });
}
