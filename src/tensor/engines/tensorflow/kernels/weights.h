// A matrix of weights as an operation gets it: floats, or int32 numbers that hold two 16-bit ones each (src/tensor/halves.ts).
#pragma once
#include "gemm.h"
#include "op.h"
#include "vec.h"

namespace minillm {

class Weights {
 public:
  // half: 0, or what the numbers are, 1 bfloat16, 2 float16, and then how many columns there are
  Weights(const Tensor& x, int64_t half, int64_t columns)
      : kind(half == 0 ? Kind::FLOAT : half == 1 ? Kind::BFLOAT16 : Kind::FLOAT16),
        data(x.floats()),
        height(x.rows()),
        width(half == 0 ? x.cols() : columns),
        stride(half == 0 ? x.cols() : 2 * x.cols()) {}

  // Whether memory and meaning agree; to be asked before it is read.
  bool fit() const { return kind == Kind::FLOAT || stride == (width + 1) / 2 * 2; }
  int64_t rows() const { return height; }
  int64_t cols() const { return width; }
  int64_t size() const { return height * width; }
  // Of vectors, which are never of 16 bits.
  const float* floats() const { return static_cast<const float*>(data); }
  Matrix plain() const { return {data, stride, 1, kind}; }
  Matrix transposed() const { return {data, 1, stride, kind}; }

  // A row in float32. @param to [cols]
  void row(int64_t row, float* to) const {
    const auto copy = [&](auto* first) {
      const auto* from = first + row * stride;
      lanes(width, [&](int64_t i, int count) { storeAt(to + i, loadAt(from + i, count), count); });
    };
    if (kind == Kind::FLOAT) std::memcpy(to, floats() + row * stride, width * sizeof(float));
    else if (kind == Kind::BFLOAT16) copy(static_cast<const Bfloat16*>(data));
    else copy(static_cast<const Float16*>(data));
  }

 private:
  Kind kind;
  const void* data;
  int64_t height, width, stride;
};

}  // namespace minillm
