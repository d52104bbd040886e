// The activation functions and their slopes, eight numbers at a time.
#pragma once
#include "vec.h"

namespace minillm {

constexpr float GELU_A = 1.5957691216057308f, GELU_B = GELU_A * 0.044715f;  // 2 sqrt(2/pi): 0.5 (1 + tanh(u)) = sigmoid(2u)

inline v8 gelu(v8 x) { return x * vsigmoid(x * (GELU_A + GELU_B * x * x)); }

inline v8 geluSlope(v8 x) {
  const v8 s = vsigmoid(x * (GELU_A + GELU_B * x * x));
  return s + x * s * (1.0f - s) * (GELU_A + 3 * GELU_B * x * x);
}

}  // namespace minillm
