// The speed limit of the processor: multiply-adds on registers alone, which no kernel can exceed.
#include "calls.h"
#include "outer_product.h"
#include "parallel.h"

namespace fastser {

constexpr int kSums = 12;  // more than a multiply-add takes cycles, times the number of its units

template <class Product>
double multiply_adds(int64_t rounds) {
  using Cell = typename Product::Cell;
  alignas(64) Cell cells[kLanes<typename Product::Sum>] = {};
  const auto values = Product::load(cells);
  const auto scalar = Product::spread(cells[0]);
  Vector<typename Product::Sum> sums[kSums] = {};
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) {
      sums[s] = Product::add(sums[s], values, scalar);
#if defined(__x86_64__)
      asm volatile("" : "+v"(sums[s]));  // the compiler must not see that the result is zero
#else
      asm volatile("" : "+w"(sums[s]));
#endif
    }
  }
  double total = 0;
  for (const auto& sum : sums) total += sum[0];
  return total;
}

}  // namespace fastser

// Do `rounds` rounds of multiply-adds per thread, and write the FLOPs of one round of one thread to `flops`.
FASTSER_CALL fastser_peak(int dtype, void* flops, int64_t rounds, int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) {
    using P = Product<decltype(stored)>;
    parallel(threads, [&](int thread, int) {
      const double zero = multiply_adds<P>(rounds);
      if (thread == 0) *static_cast<double*>(flops) = zero + 2.0 * kSums * P::kDepth * kLanes<typename P::Sum>;
    });
    return kDone;
  });
}
