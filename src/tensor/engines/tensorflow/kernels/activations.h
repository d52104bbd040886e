// The activation functions and their slopes, eight numbers at a time.
#pragma once
#include "vec.h"

namespace minillm {

constexpr float GELU_A = 1.5957691216057308f, GELU_B = GELU_A * 0.044715f;  // 2 sqrt(2/pi): 0.5 (1 + tanh(u)) = sigmoid(2u)

inline vf gelu(vf x) { return x * vsigmoid(x * (GELU_A + GELU_B * x * x)); }

inline vf gelu(vf x, vf& slope) {
  const vf s = vsigmoid(x * (GELU_A + GELU_B * x * x));
  slope = s + x * s * (1.0f - s) * (GELU_A + 3 * GELU_B * x * x);
  return x * s;
}

inline vf geluSlope(vf x) {
  vf slope;
  gelu(x, slope);
  return slope;
}

inline vf silu(vf x) { return x * vsigmoid(x); }

}  // namespace minillm
