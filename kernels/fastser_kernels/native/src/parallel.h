// Parallel regions in the OpenMP pool that torch has loaded, and the share of each thread.
#pragma once

#include <omp.h>

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace fastser {

// Half-open range of items.
struct Range {
  int64_t begin, end;
};

// Return the share of one thread of `count` items. It follows from the numbers alone, so results are repeatable.
inline Range share(int64_t count, int thread, int threads) {
  return {count * thread / threads, count * (thread + 1) / threads};
}

// Run `body(thread, threads)` in one parallel region.
// `threads` comes from Python: torch.get_num_threads(), or 1 where the work is too small to share.
template <class Body>
inline void parallel(int threads, Body body) {
  if (threads <= 1) return body(0, 1);
#pragma omp parallel num_threads(threads)
  body(omp_get_thread_num(), omp_get_num_threads());
}

// Wait for all threads of the region.
inline void barrier() {
#pragma omp barrier
}

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
template <class Item>
using Memory = std::unique_ptr<Item[], Free>;

// Allocate uninitialised memory for vectors; null if there is none. Allocate before the region, one part per thread.
template <class Item>
inline Memory<Item> allocate(int64_t count) {
  const size_t bytes = (static_cast<size_t>(count) * sizeof(Item) + 127) / 64 * 64;
  return Memory<Item>(static_cast<Item*>(std::aligned_alloc(64, bytes)));
}

}  // namespace fastser
