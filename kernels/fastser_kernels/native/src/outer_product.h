// The arithmetic of all convolutions here: a tile of sums that grows by the outer product of vectors and scalars.
//
// An operand is a row of cells. A cell holds one value, or for bfloat16 products two neighbours along the summed axis.
#pragma once

#include "vectors.h"

namespace fastser {

// Return sum + a * b with the sum in place. Left to itself, gcc moves sums between registers and the stack.
#if defined(__AVX512F__)
inline Vector<float> multiply_add(Vector<float> sum, Vector<float> a, Vector<float> b) {
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}
// The same with a scalar in memory, which the instruction spreads over all lanes.
inline Vector<float> multiply_add(Vector<float> sum, Vector<float> a, const float* b) {
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(a), "m"(*b));
  return sum;
}
#elif defined(__FMA__)
inline Vector<float> multiply_add(Vector<float> sum, Vector<float> a, Vector<float> b) {
  asm("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
  return sum;
}
#else
inline Vector<float> multiply_add(Vector<float> sum, Vector<float> a, Vector<float> b) { return sum + a * b; }
#endif
inline Vector<double> multiply_add(Vector<double> sum, Vector<double> a, Vector<double> b) { return sum + a * b; }
template <class Real>
inline Vector<Real> multiply_add(Vector<Real> sum, Vector<Real> a, const Real* b) {
  return multiply_add(sum, a, broadcast(*b));
}

// Products of single values.
template <class Real>
struct Single {
  using Cell = Real;
  using Sum = Real;
  static constexpr int kDepth = 1;

  static inline Vector<Real> spread(Cell scalar) { return broadcast(scalar); }
  static inline Vector<Real> add(Vector<Real> sum, Vector<Real> values, Vector<Real> scalar) {
    return multiply_add(sum, values, scalar);
  }
  static inline Vector<Real> add(Vector<Real> sum, Vector<Real> values, const Cell* scalar) {
    return multiply_add(sum, values, scalar);
  }
  static inline Vector<Real> load(const Cell* cells) { return load_exact(cells); }
  // Store one vector of values as cells.
  static inline void store(Cell* cells, const Vector<Real>* values) { store_exact(cells, values[0]); }
  static inline Cell cell(const Real* values) { return values[0]; }
};

#if defined(__AVX512BF16__)
// Products of pairs of bfloat16 values, summed in float.
struct Pair {
  using Cell = uint32_t;
  using Sum = float;
  static constexpr int kDepth = 2;

  static inline __m512i spread(Cell scalar) { return _mm512_set1_epi32(static_cast<int>(scalar)); }
  static inline Vector<float> add(Vector<float> sum, __m512i values, __m512i scalar) {
    return (Vector<float>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)values, (__m512bh)scalar);
  }
  static inline Vector<float> add(Vector<float> sum, __m512i values, const Cell* scalar) {
    return add(sum, values, spread(*scalar));
  }
  static inline __m512i load(const Cell* cells) { return _mm512_loadu_si512(cells); }
  static inline __m512i low_bits(Vector<float> v) {
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)v));
  }
  static inline void store(Cell* cells, const Vector<float>* values) {
    _mm512_storeu_si512(cells, _mm512_or_si512(low_bits(values[0]), _mm512_slli_epi32(low_bits(values[1]), 16)));
  }
  static inline Cell cell(const float* values) {
    return static_cast<Cell>(bfloat16_bits(values[0])) | static_cast<Cell>(bfloat16_bits(values[1])) << 16;
  }
};
#endif

template <class Stored>
struct ProductOf {
  using Type = Single<Exact<Stored>>;
};
#if defined(__AVX512BF16__)
template <>
struct ProductOf<Bfloat16> {
  using Type = Pair;
};
#endif
// Products for maps of this type.
template <class Stored>
using Product = typename ProductOf<Stored>::Type;

// Sums [Scalars][Vectors * lanes] in registers.
template <class Product, int Scalars, int Vectors>
struct Tile {
  using Real = typename Product::Sum;
  using Cell = typename Product::Cell;
  static constexpr int kLength = kLanes<Real>;
  Vector<Real> sums[Scalars][Vectors];

  __attribute__((always_inline)) inline void clear() {
#pragma GCC unroll 32
    for (int s = 0; s < Scalars; ++s)
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sums[s][v] = Vector<Real>{};
  }

  // Add the outer product of `Scalars` cells and `Vectors` vectors of cells, both contiguous.
  __attribute__((always_inline)) inline void add(const Cell* vectors, const Cell* scalars) {
    decltype(Product::load(vectors)) values[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) values[v] = Product::load(vectors + v * kLength);
#pragma GCC unroll 32
    for (int s = 0; s < Scalars; ++s) {
      if constexpr (Vectors == 1) {
        sums[s][0] = Product::add(sums[s][0], values[0], scalars + s);
      } else {
        const auto scalar = Product::spread(scalars[s]);
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sums[s][v] = Product::add(sums[s][v], values[v], scalar);
      }
    }
  }
};

// Return how many of the `left` scalars the next tile takes, from sizes in descending order that end with 1.
template <int Number>
inline int next_tile(int left, const int (&sizes)[Number]) {
  for (int size : sizes)
    if (size >= 4 && left % size == 0) return size;
  for (int size : sizes)
    if (size <= left) return size;
  return 1;
}

}  // namespace fastser
