// BN, ReLU and the mean of cells of maps, forward and backward; norm_pool.h computes them.
#include "norm_pool.h"

namespace fastser {

// Call run(pass) with memory and parameters for maps of this dtype, and cells of side x side pixels.
template <class Run>
int with_pass(int dtype, const void* bn_weight, const void* bn_bias, const void* running_mean, const void* running_var,
              MapSizes sizes, int64_t side, bool training, double eps, int threads, Run run) {
  return for_dtype(dtype, [&](auto stored) -> int {
    using Stored = decltype(stored);
    const auto with_side = [&](auto constant) -> int {
      using Real = Exact<Stored>;
      const auto vector = [](const void* pointer) { return static_cast<const Real*>(pointer); };
      NormPool<Stored, decltype(constant)::value> pass{
          sizes, vector(bn_weight), vector(bn_bias), vector(running_mean), vector(running_var), training, eps, threads,
          0,     {},                {},              {}};
      if (!pass.allocate_all()) return kOutOfMemory;
      parallel(threads, [&](int thread, int team) { run(pass, thread, team); });
      return kDone;
    };
    return side == 1 ? with_side(std::integral_constant<int, 1>{}) : with_side(std::integral_constant<int, 2>{});
  });
}

}  // namespace fastser

// Parameters and statistics are float, or double for double maps. Maps are dense [image][row][column][channel].
// `side` is 1 or 2.
FASTSER_CALL fastser_norm_pool_forward(int dtype, const void* x, const void* bn_weight, const void* bn_bias,
                                       const void* running_mean, const void* running_var, void* pooled, void* mean,
                                       void* var, int64_t images, int64_t rows, int64_t columns, int64_t channels,
                                       int64_t side, bool training, double eps, int threads) {
  using namespace fastser;
  return with_pass(dtype, bn_weight, bn_bias, running_mean, running_var, {images, rows, columns, channels}, side,
                   training, eps, threads, [&](auto& pass, int thread, int team) {
                     using Pass = std::decay_t<decltype(pass)>;
                     using Real = typename Pass::Real;
                     using Stored = typename Pass::Map;
                     pass.forward(static_cast<const Stored*>(x), static_cast<Stored*>(pooled), static_cast<Real*>(mean),
                                  static_cast<Real*>(var), thread, team);
                   });
}

// `grad` has neighbouring channels and any other strides: `of_image`, `of_row` and `of_column` in values.
FASTSER_CALL fastser_norm_pool_backward(int dtype, const void* grad, const void* x, const void* mean, const void* var,
                                        const void* bn_weight, const void* bn_bias, const void* running_mean,
                                        const void* running_var, void* grad_x, void* grad_weight, void* grad_bias,
                                        int64_t of_image, int64_t of_row, int64_t of_column, int64_t images,
                                        int64_t rows, int64_t columns, int64_t channels, int64_t side, bool training,
                                        double eps, int threads) {
  using namespace fastser;
  return with_pass(dtype, bn_weight, bn_bias, running_mean, running_var, {images, rows, columns, channels}, side,
                   training, eps, threads, [&](auto& pass, int thread, int team) {
                     using Pass = std::decay_t<decltype(pass)>;
                     using Real = typename Pass::Real;
                     using Stored = typename Pass::Map;
                     pass.backward({static_cast<const Stored*>(grad), of_image, of_row, of_column},
                                   static_cast<const Stored*>(x), static_cast<const Real*>(mean),
                                   static_cast<const Real*>(var), static_cast<Stored*>(grad_x),
                                   static_cast<Real*>(grad_weight), static_cast<Real*>(grad_bias), thread, team);
                   });
}
