// One row normalised.
#pragma once
#include <cmath>
#include <cstdint>

#include "vec.h"

namespace minillm {

struct RowStats {
  float mean, inverse;  // inverse: of the standard deviation, or of the root of the mean square
};

// out = gain (x - mean x) / sqrt(var x + eps) + bias
inline RowStats layerNormRow(const float* x, int64_t width, const float* gain, const float* bias, float eps, float* out) {
  vf total = all(0), squares = all(0);
  lanes(width, [&](int64_t i, int n) { total += loadAt(x + i, n); });
  const float mean = sum(total) / width;
  lanes(width, [&](int64_t i, int n) {
    const vf d = loadAt(x + i, n, mean) - mean;
    squares += d * d;
  });
  const float inverse = 1 / std::sqrt(sum(squares) / width + eps);
  lanes(width, [&](int64_t i, int n) {
    storeAt(out + i, (loadAt(x + i, n) - mean) * inverse * loadAt(gain + i, n) + loadAt(bias + i, n), n);
  });
  return {mean, inverse};
}

// out = gain x / sqrt(mean x^2 + eps)
inline RowStats rmsNormRow(const float* x, int64_t width, const float* gain, float eps, float* out) {
  vf squares = all(0);
  lanes(width, [&](int64_t i, int n) {
    const vf v = loadAt(x + i, n);
    squares += v * v;
  });
  const float inverse = 1 / std::sqrt(sum(squares) / width + eps);
  lanes(width, [&](int64_t i, int n) { storeAt(out + i, loadAt(x + i, n) * inverse * loadAt(gain + i, n), n); });
  return {0, inverse};
}

}  // namespace minillm
