// 2x2 max-pooling with ReLU, and its gradient; the formulas stand in max_pool_relu/op.py. Maps are channels_last.
//
// Vectors run over the channels of a pixel. Where these are no whole vectors, the last vector of a pixel reaches into
// the next pixel of the row and is written before it, so only the end of a row needs part of a vector.
#include <algorithm>

#include "calls.h"
#include "parallel.h"

namespace fastser {
namespace {

constexpr int kPlaces = 4;  // of a window, row by row; the place 4 means that no value passes the ReLU

struct Sizes {
  int64_t images, rows, columns, channels;

  int64_t pooled_rows() const { return rows / 2; }
  int64_t pooled_values() const { return columns / 2 * channels; }  // of a row
  int64_t values() const { return columns * channels; }
};

template <class Real>
using Places = typename VectorOf<Real>::Bits;
template <class Real>
struct PlaceBytes {
  typedef uint8_t Type __attribute__((vector_size(kLanes<Real>)));
};

// Move `count` bytes; the compiler turns the whole vector into one instruction.
template <class Bytes>
inline void copy(void* to, const void* from, int count) {
  if (count == static_cast<int>(sizeof(Bytes)))
    std::memcpy(to, from, sizeof(Bytes));
  else
    std::memcpy(to, from, static_cast<size_t>(count));
}

// Pool a share of the rows.
template <class Stored>
void pool(Range range, Sizes size, const Stored* x, Stored* y, uint8_t* chosen) {
  using Real = Exact<Stored>;
  using V = Vector<Real>;
  using Bytes = typename PlaceBytes<Real>::Type;
  const int64_t C = size.channels, end = size.pooled_values();
  for (int64_t row = range.begin; row < range.end; ++row) {
    const Stored* top = x + (row / size.pooled_rows() * size.rows + 2 * (row % size.pooled_rows())) * size.values();
    for (int64_t pixel = 0; pixel < end; pixel += C)
      for (int64_t c = 0; c < C; c += kLanes<Real>) {
        const int64_t at = pixel + c;
        const int count = static_cast<int>(std::min<int64_t>(end - at, kLanes<Real>));
        const Stored* window = top + at + pixel;
        V most = load(window, count);
        Places<Real> place{};
        for (int p = 1; p < kPlaces; ++p) {
          const V value = load(window + (p % 2) * C + (p / 2) * size.values(), count);
          const auto later = (value > most) | (value != value);  // a NaN wins, as in max_pool2d
          most = later ? value : most;
          place = later ? Places<Real>{} + p : place;
        }
        place = most <= 0 ? Places<Real>{} + kPlaces : place;
        store(y + row * end + at, relu(most), count);
        const Bytes bytes = __builtin_convertvector(place, Bytes);
        copy<Bytes>(chosen + row * end + at, &bytes, count);
      }
  }
}

// Write the gradients of a share of the pairs of rows.
template <class Stored>
void spread(Range range, Sizes size, const Stored* grad, const uint8_t* chosen, Stored* grad_x) {
  using Real = Exact<Stored>;
  using V = Vector<Real>;
  using Bytes = typename PlaceBytes<Real>::Type;
  const int64_t C = size.channels, end = size.pooled_values();
  for (int64_t row = range.begin; row < range.end; ++row) {
    const int64_t pair = row % size.pooled_rows();
    Stored* top = grad_x + (row / size.pooled_rows() * size.rows + 2 * pair) * size.values();
    for (int64_t pixel = 0; pixel < end; pixel += C)
      for (int side = 0; side < 2; ++side)
        for (int64_t c = 0; c < C; c += kLanes<Real>) {
          const int64_t at = pixel + c, start = at + pixel + side * C;
          const int count = static_cast<int>(std::min<int64_t>(end - at, kLanes<Real>));
          const int room = static_cast<int>(std::min<int64_t>(2 * end - start, kLanes<Real>));
          Bytes bytes{};
          copy<Bytes>(&bytes, chosen + row * end + at, count);
          const auto place = __builtin_convertvector(bytes, Places<Real>);
          const V value = load(grad + row * end + at, count);
          store(top + start, place == side ? value : V{}, room);
          store(top + size.values() + start, place == side + 2 ? value : V{}, room);
        }
    const bool last = pair + 1 == size.pooled_rows();
    for (int64_t r = 0; r < 2; ++r) std::fill(top + r * size.values() + 2 * end, top + (r + 1) * size.values(), Stored{});
    if (last && size.rows % 2) std::fill(top + 2 * size.values(), top + 3 * size.values(), Stored{});
  }
}

}  // namespace
}  // namespace fastser

FASTSER_CALL fastser_max_pool_relu_forward(int dtype, const void* x, void* y, void* chosen, int64_t images,
                                           int64_t rows, int64_t columns, int64_t channels, int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) -> int {
    using Stored = decltype(stored);
    const Sizes size{images, rows, columns, channels};
    parallel(threads, [&](int thread, int team) {
      pool(share(images * size.pooled_rows(), thread, team), size, static_cast<const Stored*>(x),
           static_cast<Stored*>(y), static_cast<uint8_t*>(chosen));
    });
    return kDone;
  });
}

FASTSER_CALL fastser_max_pool_relu_backward(int dtype, const void* grad, const void* chosen, void* grad_x,
                                            int64_t images, int64_t rows, int64_t columns, int64_t channels,
                                            int threads) {
  using namespace fastser;
  return for_dtype(dtype, [&](auto stored) -> int {
    using Stored = decltype(stored);
    const Sizes size{images, rows, columns, channels};
    parallel(threads, [&](int thread, int team) {
      spread(share(images * size.pooled_rows(), thread, team), size, static_cast<const Stored*>(grad),
             static_cast<const uint8_t*>(chosen), static_cast<Stored*>(grad_x));
    });
    return kDone;
  });
}
