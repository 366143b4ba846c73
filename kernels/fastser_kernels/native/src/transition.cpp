// BN, ReLU and 2x2 average pooling of a transition; the formula stands in transition/op.py.
#include "norm_pool.h"

// Parameters and statistics are float, or double for double maps. Maps are dense [image][row][column][channel].
FASTSER_CALL fastser_transition_pool_forward(int dtype, const void* x, const void* bn_weight, const void* bn_bias,
                                             const void* running_mean, const void* running_var, void* pooled,
                                             void* mean, void* var, int64_t images, int64_t rows, int64_t columns,
                                             int64_t channels, bool training, double eps, int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) -> int {
    using Stored = decltype(stored);
    using Real = Exact<Stored>;
    NormPool<Stored, 2> pass{{images, rows, columns, channels},
                             static_cast<const Real*>(bn_weight),
                             static_cast<const Real*>(bn_bias),
                             static_cast<const Real*>(running_mean),
                             static_cast<const Real*>(running_var),
                             training, eps, threads, 0, {}, {}, {}};
    if (!pass.allocate_all()) return kOutOfMemory;
    parallel(threads, [&](int thread, int team) {
      pass.forward(static_cast<const Stored*>(x), static_cast<Stored*>(pooled), static_cast<Real*>(mean),
                   static_cast<Real*>(var), thread, team);
    });
    return kDone;
  });
}

FASTSER_CALL fastser_transition_pool_backward(int dtype, const void* grad_pooled, const void* x, const void* mean,
                                              const void* var, const void* bn_weight, const void* bn_bias,
                                              const void* running_mean, const void* running_var, void* grad_x,
                                              void* grad_weight, void* grad_bias, int64_t images, int64_t rows,
                                              int64_t columns, int64_t channels, bool training, double eps,
                                              int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) -> int {
    using Stored = decltype(stored);
    using Real = Exact<Stored>;
    NormPool<Stored, 2> pass{{images, rows, columns, channels},
                             static_cast<const Real*>(bn_weight),
                             static_cast<const Real*>(bn_bias),
                             static_cast<const Real*>(running_mean),
                             static_cast<const Real*>(running_var),
                             training, eps, threads, 0, {}, {}, {}};
    if (!pass.allocate_all()) return kOutOfMemory;
    const int64_t line = columns / 2 * channels;
    parallel(threads, [&](int thread, int team) {
      pass.backward({static_cast<const Stored*>(grad_pooled), rows / 2 * line, line, channels},
                    static_cast<const Stored*>(x), static_cast<const Real*>(mean), static_cast<const Real*>(var),
                    static_cast<Stored*>(grad_x), static_cast<Real*>(grad_weight), static_cast<Real*>(grad_bias),
                    thread, team);
    });
    return kDone;
  });
}
