// What every function that Python calls has in common: its linkage, its status, and the dtype of the maps.
#pragma once

#include "vectors.h"

// A function of the interface: plain C, arguments by position, result a Status.
// `kernels/fastser_kernels/native/library.py` declares the same arguments; a test compares the two.
#define FASTSER_CALL extern "C" __attribute__((visibility("default"))) int

namespace fastser {

enum Status : int { kDone = 0, kOutOfMemory = 1, kUnknownDtype = 2 };

// Numbers of the dtypes in `library.py`.
enum Dtype : int { kFloat32 = 0, kFloat64 = 1, kBfloat16 = 2, kFloat16 = 3 };

// Call `run` with a value of the stored type, and return its status.
template <class Run>
inline int for_dtype(int dtype, Run run) {
  switch (dtype) {
    case kFloat32:
      return run(float{});
    case kFloat64:
      return run(double{});
    case kBfloat16:
      return run(Bfloat16{});
    case kFloat16:
      return run(Half{});
    default:
      return kUnknownDtype;
  }
}

}  // namespace fastser
