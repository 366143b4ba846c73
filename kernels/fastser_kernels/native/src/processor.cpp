// The variants that this processor can run. This file is compiled for the oldest processor of its architecture.
#include <cstring>

extern "C" __attribute__((visibility("default"))) int fastser_runs(const char* variant) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (!std::strcmp(variant, "v3")) return v3;
  if (!std::strcmp(variant, "v4")) return v4;
  if (!std::strcmp(variant, "v4-bf16")) return v4 && __builtin_cpu_supports("avx512bf16");
#elif defined(__aarch64__)
  if (!std::strcmp(variant, "neon")) return 1;
#endif
  return 0;
}
