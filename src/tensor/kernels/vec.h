// Eight floats at a time. GCC's and Clang's vector types become AVX2, AVX-512 or NEON instructions, whatever -march=native
// has; there is no intrinsic of one processor in these files.
#pragma once
#include <cstdint>
#include <cstring>

namespace minillm {

constexpr int LANES = 8;
typedef float v8 __attribute__((vector_size(4 * LANES)));
typedef int32_t i8 __attribute__((vector_size(4 * LANES)));

inline v8 load(const float* p) {
  v8 x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline void store(float* p, v8 x) { std::memcpy(p, &x, sizeof x); }
inline v8 all(float x) { return v8{x, x, x, x, x, x, x, x}; }
inline v8 choose(i8 mask, v8 yes, v8 no) { return (v8)((mask & (i8)yes) | (~mask & (i8)no)); }
inline v8 vmax(v8 a, v8 b) { return choose(a > b, a, b); }
inline v8 vmin(v8 a, v8 b) { return choose(a < b, a, b); }

// The sum of the lanes, always in the same order.
inline float sum(v8 x) { return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])); }
inline float largest(v8 x) {
  float m = x[0];
  for (int i = 1; i < LANES; i++) m = x[i] > m ? x[i] : m;
  return m;
}

// e^x within 2 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, e^r by a polynomial of degree 7, 2^n into the exponent. Below
// -87.3, where the result would be denormal, and at -Infinity it is exactly 0; above 88.7 it is +Infinity. NaN stays NaN.
inline v8 vexp(v8 x) {
  const v8 clamped = vmin(vmax(x, all(-87.3f)), all(88.72f));
  const v8 shifted = clamped * 1.44269504f + 12582912.f;  // 1.5 * 2^23: rounds to an integer in the low bits
  const v8 n = shifted - 12582912.f;
  v8 r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  v8 p = all(1.9841270e-4f);
  p = p * r + 1.3888889e-3f;
  p = p * r + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  // 2^n as 2^(n-1) * 2: for n = 128 the exponent alone would overflow.
  const i8 exponent = (((i8)shifted - 0x4b400000) + 126) << 23;
  v8 y = p * (v8)exponent * 2.0f;
  y = choose(x < all(-87.3f), all(0.0f), y);
  y = choose(x > all(88.72f), all(__builtin_inff()), y);
  return choose(x == x, y, x);
}

inline v8 vsigmoid(v8 x) { return 1.0f / (1.0f + vexp(-x)); }

// The first `count` lanes from memory, the others filled up; and back. For the end of a row.
inline v8 load(const float* p, int count, float fill) {
  v8 x = all(fill);
  std::memcpy(&x, p, count * sizeof(float));
  return x;
}
inline void store(float* p, v8 x, int count) { std::memcpy(p, &x, count * sizeof(float)); }

// body(i, count) for every group of lanes of a row; count is LANES but for the last one.
template <class Body>
inline void lanes(int64_t size, Body body) {
  int64_t i = 0;
  for (; i + LANES <= size; i += LANES) body(i, LANES);
  if (i < size) body(i, static_cast<int>(size - i));
}
inline v8 loadAt(const float* p, int count, float fill = 0) { return count == LANES ? load(p) : load(p, count, fill); }
inline void storeAt(float* p, v8 x, int count) {
  if (count == LANES) store(p, x);
  else store(p, x, count);
}

}  // namespace minillm
