// Product of a matrix and vectors, where each row of the matrix is zero outside a range: a filterbank.
#pragma once

#include <algorithm>
#include <cstdint>

#include "parallel.h"
#include "vectors.h"

namespace fastser {

template <class Real>
class BandMatrix {
  using V = Vector<Real>;
  static constexpr int kRows = 4;  // rows that are multiplied at once

  struct Group {
    int64_t begin, end;  // columns in which one of its rows is not zero
  };

 public:
  // Copy the matrix whose entry (row, column) is values[row * row_stride + column * column_stride].
  // Return false if there is no memory.
  bool prepare(const Real* values, int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride) {
    rows_ = rows;
    columns_ = columns;
    const int64_t number = (rows + kRows - 1) / kRows;
    groups_ = allocate<Group>(number);
    weights_ = allocate<Real>(number * kRows * columns);
    if (!groups_ || !weights_) return false;
    for (int64_t group = 0; group < number; ++group) {
      int64_t begin = columns, end = 0;
      for (int64_t column = 0; column < columns; ++column) {
        Real* weights = weights_.get() + (group * columns + column) * kRows;
        for (int i = 0; i < kRows; ++i) {
          const int64_t row = group * kRows + i;
          weights[i] = row < rows ? values[row * row_stride + column * column_stride] : 0;
          if (weights[i] == 0) continue;
          begin = std::min(begin, column);
          end = column + 1;
        }
      }
      groups_[group] = begin < end ? Group{begin, end} : Group{0, 1};  // one product, so that NaN stays visible
    }
    return true;
  }

  // Write out[row], the sum of weight * in[column] over the columns.
  void multiply(const V* in, V* out) const {
    for (int64_t first = 0; first < rows_; first += kRows) {
      const Group group = groups_[first / kRows];
      const Real* weights = weights_.get() + first * columns_;
      V sums[kRows] = {};
      for (int64_t column = group.begin; column < group.end; ++column) {
        const V value = in[column];
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i) sums[i] += value * weights[column * kRows + i];
      }
      for (int i = 0; i < kRows && first + i < rows_; ++i) out[first + i] = sums[i];
    }
  }

 private:
  int64_t rows_ = 0, columns_ = 0;
  Memory<Group> groups_;
  Memory<Real> weights_;
};

}  // namespace fastser
