// One head turned: the pair (x[i], x[i + half]) by the angle of frequency i; `sign` -1 turns back.
#pragma once
#include <cstdint>

#include "vec.h"

namespace minillm {

inline void turnHead(const float* x, int64_t half, const float* cos, const float* sin, float sign, float* out) {
  lanes(half, [&](int64_t i, int n) {
    const vf a = loadAt(x + i, n), b = loadAt(x + half + i, n), c = loadAt(cos + i, n), s = loadAt(sin + i, n) * sign;
    storeAt(out + i, a * c - b * s, n);
    storeAt(out + half + i, b * c + a * s, n);
  });
}

}  // namespace minillm
