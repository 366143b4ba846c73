// Sizes, bands and packed operands that the forward and the backward pass of a DenseBlock share.
//
// A band is some consecutive rows of one image. Its scratch copy is flat: rows of F + 1 cells whose last cell is zero,
// after one leading zero, so the last cell of a row is the left neighbour of the next row too. The 3x3 neighbours of
// output q = row * (F + 1) + column lie at q + kr * (F + 1) + kc, where row 0 of the copy is the row before the band.
#pragma once

#include <algorithm>
#include <cstdint>

#include "outer_product.h"
#include "parallel.h"

namespace fastser {

inline int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

constexpr int64_t kBandBytes = 540 * 1024;  // of the scratch copy: well inside a second-level cache

struct DenseSizes {
  int64_t images, rows, columns, channels, growth, layers;

  int64_t total() const { return channels + growth * layers; }
  int64_t inputs(int64_t layer) const { return channels + growth * layer; }
  int64_t width() const { return columns + 1; }
  int64_t pixels() const { return images * rows * columns; }
};

struct Bands;

// One band: rows [begin, end) of an image.
struct Band {
  int64_t index, image, begin, end;
  bool after_another;  // the band above it in the image has just been worked on

  Band(const Bands& bands, int64_t band_index, bool follows);

  int64_t height() const { return end - begin; }
};

// The division of all images into bands.
struct Bands {
  int64_t height, per_image, images, rows;
  bool whole_images;  // each thread has whole images, so it reads no rows of another

  // `pixel_bytes`: bytes of one pixel of the scratch copy.
  Bands(const DenseSizes& sizes, int64_t pixel_bytes, int threads) : images(sizes.images), rows(sizes.rows) {
    whole_images = images % threads == 0 || images >= 4 * threads;
    height = std::clamp<int64_t>(kBandBytes / (pixel_bytes * sizes.width()) - 2, 1, rows);
    if (!whole_images) {  // enough bands for all threads
      const int64_t wanted = (4 * threads + images - 1) / std::max<int64_t>(images, 1);
      height = std::min(height, std::max<int64_t>((rows + wanted - 1) / wanted, 1));
    }
    per_image = (rows + height - 1) / height;
    height = (rows + per_image - 1) / per_image;
    per_image = (rows + height - 1) / height;
  }

  int64_t count() const { return images * per_image; }

  // Bands of one thread.
  Range of(int thread, int threads) const {
    if (!whole_images) return share(count(), thread, threads);
    const Range own = share(images, thread, threads);
    return {own.begin * per_image, own.end * per_image};
  }

  // Work on the bands of `own`, image after image, in odd layers from the last image to the first: what the layer
  // before has touched last is still in the cache.
  template <class Work>
  void there_and_back(Range own, int64_t layer, Work work) const {
    if (own.begin >= own.end) return;
    const int64_t first = own.begin / per_image, last = (own.end - 1) / per_image;
    for (int64_t i = first; i <= last; ++i) {
      const int64_t image = layer % 2 ? first + last - i : i;
      const int64_t begin = std::max(own.begin, image * per_image), end = std::min(own.end, (image + 1) * per_image);
      for (int64_t index = begin; index < end; ++index) work(Band(*this, index, index > begin));
    }
  }
};

inline Band::Band(const Bands& bands, int64_t band_index, bool follows)
    : index(band_index),
      image(band_index / bands.per_image),
      begin(band_index % bands.per_image * bands.height),
      end(std::min(begin + bands.height, bands.rows)),
      after_another(follows) {}

// Scale and shift of a normalisation, scale * x + shift, for `channels` channels; zero beyond them.
template <class Real>
struct Normalisation {
  Real *scale, *shift, *mean, *rstd;

  void set(int64_t channels, int64_t padded, const Real* means, const Real* variances, const Real* weight,
           const Real* bias, double eps) const {
    for (int64_t c = 0; c < padded; ++c) {
      const bool real = c < channels;
      mean[c] = real ? means[c] : 0;
      rstd[c] = real ? static_cast<Real>(1 / __builtin_sqrt(static_cast<double>(variances[c]) + eps)) : 0;
      scale[c] = real ? rstd[c] * weight[c] : 0;
      shift[c] = real ? bias[c] - mean[c] * scale[c] : 0;
    }
  }
};

}  // namespace fastser
