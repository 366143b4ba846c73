// Vectors of the variant that is being compiled: the same code for AVX2, AVX-512 and NEON.
//
// A map is stored as float, double, Bfloat16 or Half. Arithmetic on it is in `Exact<Stored>`: double for double, float
// for the others. `Vector<Real>` has as many lanes as a register; +, -, *, / and comparisons work on it lane by lane.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace fastser {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

struct Bfloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

template <class Stored>
struct ExactOf {
  using Type = float;
};
template <>
struct ExactOf<double> {
  using Type = double;
};
template <class Stored>
using Exact = typename ExactOf<Stored>::Type;

template <class Real>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float Type __attribute__((vector_size(kVectorBytes)));
  typedef int32_t Bits __attribute__((vector_size(kVectorBytes)));
};
template <>
struct VectorOf<double> {
  typedef double Type __attribute__((vector_size(kVectorBytes)));
  typedef int64_t Bits __attribute__((vector_size(kVectorBytes)));
};
template <class Real>
using Vector = typename VectorOf<Real>::Type;

template <class Real>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(Real));

template <class Real>
inline Vector<Real> broadcast(Real value) {
  return value - Vector<Real>{};
}

template <class Real>
inline Vector<Real> zeros() {
  return Vector<Real>{};
}

// ---- Scalars ----

inline float exact(float value) { return value; }
inline double exact(double value) { return value; }
inline float exact(Bfloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

inline void put(float& place, float value) { place = value; }
inline void put(double& place, double value) { place = value; }
inline uint16_t bfloat16_bits(float value) {  // to nearest, ties to even; a NaN stays one
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
inline void put(Bfloat16& place, float value) { place.bits = bfloat16_bits(value); }

#if defined(__x86_64__)
inline float exact(Half value) { return _cvtsh_ss(value.bits); }
inline void put(Half& place, float value) { place.bits = _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT); }
#elif defined(__aarch64__)
inline float exact(Half value) {
  __fp16 half;
  std::memcpy(&half, &value.bits, sizeof half);
  return half;
}
inline void put(Half& place, float value) {
  const __fp16 half = static_cast<__fp16>(value);
  std::memcpy(&place.bits, &half, sizeof half);
}
#endif

// ---- Vectors: load and store a whole one ----

template <class Real>
inline Vector<Real> load_exact(const Real* from) {
  Vector<Real> v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
template <class Real>
inline void store_exact(Real* to, Vector<Real> v) {
  std::memcpy(to, &v, sizeof v);
}

inline Vector<float> load(const float* from) { return load_exact(from); }
inline Vector<double> load(const double* from) { return load_exact(from); }
inline void store(float* to, Vector<float> v) { store_exact(to, v); }
inline void store(double* to, Vector<double> v) { store_exact(to, v); }

#if defined(__AVX512F__)
inline Vector<float> load(const Half* from) {
  return (Vector<float>)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline void store(Half* to, Vector<float> v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
}
inline Vector<float> load(const Bfloat16* from) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return (Vector<float>)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}
inline __m256i to_bfloat16(Vector<float> v) {
  const __m512i bits = (__m512i)v;
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, nan, quiet));
}
inline void store(Bfloat16* to, Vector<float> v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), to_bfloat16(v));
}
#elif defined(__AVX2__)
inline Vector<float> load(const Half* from) {
  return (Vector<float>)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline void store(Half* to, Vector<float> v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
}
inline Vector<float> load(const Bfloat16* from) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return (Vector<float>)_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
}
inline void store(Bfloat16* to, Vector<float> v) {
  for (int lane = 0; lane < kLanes<float>; ++lane) put(to[lane], v[lane]);
}
#else
template <class Stored>
inline Vector<float> load_each(const Stored* from) {
  Vector<float> v;
  for (int lane = 0; lane < kLanes<float>; ++lane) v[lane] = exact(from[lane]);
  return v;
}
template <class Stored>
inline void store_each(Stored* to, Vector<float> v) {
  for (int lane = 0; lane < kLanes<float>; ++lane) put(to[lane], v[lane]);
}
inline Vector<float> load(const Half* from) { return load_each(from); }
inline Vector<float> load(const Bfloat16* from) { return load_each(from); }
inline void store(Half* to, Vector<float> v) { store_each(to, v); }
inline void store(Bfloat16* to, Vector<float> v) { store_each(to, v); }
#endif

// ---- Vectors: load and store the first `count` lanes; the other lanes of a loaded vector are zero ----

template <class Stored>
inline Vector<Exact<Stored>> load(const Stored* from, int count) {
  if (count >= kLanes<Exact<Stored>>) return load(from);
  Stored part[kLanes<Exact<Stored>>] = {};
  std::memcpy(part, from, static_cast<size_t>(count) * sizeof(Stored));
  return load(part);
}
template <class Stored>
inline void store(Stored* to, Vector<Exact<Stored>> v, int count) {
  if (count >= kLanes<Exact<Stored>>) return store(to, v);
  Stored part[kLanes<Exact<Stored>>];
  store(part, v);
  std::memcpy(to, part, static_cast<size_t>(count) * sizeof(Stored));
}

#if defined(__AVX512F__)
inline __mmask16 first(int count) { return static_cast<__mmask16>((1u << count) - 1u); }

inline Vector<float> load(const float* from, int count) {
  return (Vector<float>)(count >= 16 ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(first(count), from));
}
inline void store(float* to, Vector<float> v, int count) {
  if (count >= 16) return store(to, v);
  _mm512_mask_storeu_ps(to, first(count), (__m512)v);
}
inline Vector<float> load(const Bfloat16* from, int count) {
  if (count >= 16) return load(from);
  const __m256i half = _mm256_maskz_loadu_epi16(first(count), from);
  return (Vector<float>)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}
inline void store(Bfloat16* to, Vector<float> v, int count) {
  if (count >= 16) return store(to, v);
  _mm256_mask_storeu_epi16(to, first(count), to_bfloat16(v));
}
inline Vector<float> load(const Half* from, int count) {
  if (count >= 16) return load(from);
  return (Vector<float>)_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(count), from));
}
inline void store(Half* to, Vector<float> v, int count) {
  if (count >= 16) return store(to, v);
  _mm256_mask_storeu_epi16(to, first(count), _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
}
#endif

// Return what a load would give after `v` was stored.
template <class Stored>
inline Vector<Exact<Stored>> rounded(Vector<Exact<Stored>> v) {
  if constexpr (sizeof(Stored) == sizeof(Exact<Stored>)) return v;
  Stored stored[kLanes<Exact<Stored>>];
  store(stored, v);
  return load(stored);
}

// ---- Arithmetic ----

template <class V>
inline V relu(V v) {  // keeps NaN, as torch.relu does
  return v <= 0 ? V{} : v;
}
template <class V>
inline V clamp(V v, V low, V high) {  // keeps NaN of v
  v = v < low ? low : v;
  return v > high ? high : v;
}
template <class Real, class V>
inline Real sum_of_lanes(V v) {
  Real sum = 0;
  for (int lane = 0; lane < kLanes<Real>; ++lane) sum += v[lane];
  return sum;
}

}  // namespace fastser
