// As many floats at a time as one register holds: sixteen with AVX-512, else eight. GCC's and Clang's vector types become
// AVX2, AVX-512 or NEON instructions, whatever -march=native has. The one thing that they have no words for is a part of a
// register from and to memory, at the end of a row: that is said in intrinsics where there are any.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace minillm {

#if defined(__AVX512F__) && defined(__AVX512DQ__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
using v8 = vf;

inline vf load(const float* p) {
  vf x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline void store(float* p, vf x) { std::memcpy(p, &x, sizeof x); }
inline vf all(float x) { return x - vf{}; }
inline vf choose(vi mask, vf yes, vf no) { return mask ? yes : no; }
// a b + c, rounded once. Where the compiler makes that of a product and a sum it is not needed; over long loops it does not always.
inline vf fused(vf a, vf b, vf c) {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__)
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_FEATURE_FMA)
  for (int i = 0; i < LANES; i++) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
#else
  return a * b + c;
#endif
}
inline vf vmax(vf a, vf b) { return a > b ? a : b; }
inline vf vmin(vf a, vf b) { return a < b ? a : b; }

// Numbers of 16 bits as they lie in memory, widened on their way into a register: exactly, so that it is as if they had been float32.
struct Bfloat16 { uint16_t bits; };
struct Float16 { uint16_t bits; };

inline vi widened(const uint16_t* p) {
  // GCC 12 makes five instructions of what is one.
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  return (vi)_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__AVX2__)
  return (vi)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  typedef uint16_t vh __attribute__((vector_size(2 * LANES)));
  vh x;
  std::memcpy(&x, p, sizeof x);
  return __builtin_convertvector(x, vi);
#endif
}
// Of the two numbers in each lane the first, in the lower half, and the second.
template <class Half>
inline vf first(vi pairs);
template <class Half>
inline vf second(vi pairs);
template <>
inline vf first<Bfloat16>(vi pairs) { return (vf)(pairs << 16); }
template <>
inline vf second<Bfloat16>(vi pairs) { return (vf)(pairs & static_cast<int32_t>(0xffff0000)); }
template <>
inline vf first<Float16>(vi pairs) {
  const vi magnitude = pairs & 0x7fff;
  // Below 2^-14 a float16 is a multiple of 2^-24; above, the exponent's bias and the place of the fraction differ.
  const vf small = __builtin_convertvector(magnitude, vf) * 0x1p-24f;
  const vf size = choose(magnitude < 0x400, small, (vf)((magnitude << 13) + 0x38000000));
  return (vf)((vi)size | (pairs & 0x8000) << 16);
}
template <>
inline vf second<Float16>(vi pairs) { return first<Float16>(pairs >> 16); }

inline vf load(const Bfloat16* p) { return (vf)(widened(&p->bits) << 16); }
#if defined(__AVX512F__) && defined(__AVX512DQ__)
inline vf load(const Float16* p) { return (vf)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
#elif defined(__AVX2__) && defined(__F16C__)
inline vf load(const Float16* p) { return (vf)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
#else
inline vf load(const Float16* p) { return first<Float16>(widened(&p->bits)); }
#endif
inline float number(float x) { return x; }
template <class Half>
inline float number(Half x) {
  Half some[LANES] = {x};
  return load(some)[0];
}

// Folds a vector to one number by halves: the lanes always meet in the same order.
template <int COUNT, class Meet>
inline float fold(const float* x, Meet meet) {
  if constexpr (COUNT == 1) {
    return x[0];
  } else {
    constexpr int HALF = COUNT / 2;
    float half[HALF];
    for (int i = 0; i < HALF; i++) half[i] = meet(x[i], x[i + HALF]);
    return fold<HALF>(half, meet);
  }
}
inline float sum(vf x) {
  float lanes[LANES];
  store(lanes, x);
  return fold<LANES>(lanes, [](float a, float b) { return a + b; });
}
inline float largest(vf x) {
  float lanes[LANES];
  store(lanes, x);
  return fold<LANES>(lanes, [](float a, float b) { return a > b ? a : b; });
}

// e^x within 2 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, e^r by a polynomial of degree 7, 2^n into the exponent. Below
// -87.3, where the result would be denormal, and at -Infinity it is exactly 0; above 88.7 it is +Infinity. NaN stays NaN.
inline vf vexp(vf x) {
  const vf clamped = vmin(vmax(x, all(-87.3f)), all(88.72f));
  const vf shifted = clamped * 1.44269504f + 12582912.f;  // 1.5 * 2^23: rounds to an integer in the low bits
  const vf n = shifted - 12582912.f;
  vf r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  vf p = all(1.9841270e-4f);
  p = p * r + 1.3888889e-3f;
  p = p * r + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  // 2^n as 2^(n-1) * 2: for n = 128 the exponent alone would overflow.
  const vi exponent = (((vi)shifted - 0x4b400000) + 126) << 23;
  vf y = p * (vf)exponent * 2.0f;
  y = choose(x < all(-87.3f), all(0.0f), y);
  y = choose(x > all(88.72f), all(__builtin_inff()), y);
  return choose(x == x, y, x);
}

inline vf vsigmoid(vf x) { return 1.0f / (1.0f + vexp(-x)); }

// The first `count` lanes from memory, the others filled up; and back. For the end of a row, which every row of scores has:
// memcpy of a count that is not known costs more than the arithmetic.
#if defined(__AVX512F__) && defined(__AVX512DQ__)
inline __mmask16 lanesBelow(int count) { return static_cast<__mmask16>((1u << count) - 1); }
inline vf load(const float* p, int count, float fill) {
  return (vf)_mm512_mask_loadu_ps((__m512)all(fill), lanesBelow(count), p);
}
inline void store(float* p, vf x, int count) { _mm512_mask_storeu_ps(p, lanesBelow(count), (__m512)x); }
#elif defined(__AVX2__)
inline __m256i lanesBelow(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline vf load(const float* p, int count, float fill) {
  const __m256i mask = lanesBelow(count);
  return (vf)_mm256_blendv_ps((__m256)all(fill), _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}
inline void store(float* p, vf x, int count) { _mm256_maskstore_ps(p, lanesBelow(count), (__m256)x); }
#else
inline vf load(const float* p, int count, float fill) {
  vf x = all(fill);
  std::memcpy(&x, p, count * sizeof(float));
  return x;
}
inline void store(float* p, vf x, int count) { std::memcpy(p, &x, count * sizeof(float)); }
#endif

// body(i, count) for every group of lanes of a row; count is LANES but for the last one.
template <class Body>
inline void lanes(int64_t size, Body body) {
  int64_t i = 0;
  for (; i + LANES <= size; i += LANES) body(i, LANES);
  if (i < size) body(i, static_cast<int>(size - i));
}
inline vf loadAt(const float* p, int count, float fill = 0) { return count == LANES ? load(p) : load(p, count, fill); }
template <class Half>
inline vf loadAt(const Half* p, int count) {
  if (count == LANES) return load(p);
  Half some[LANES] = {};
  std::memcpy(some, p, count * sizeof(Half));
  return load(some);
}
inline void storeAt(float* p, vf x, int count) {
  if (count == LANES) store(p, x);
  else store(p, x, count);
}

// Rows and columns of a square of registers exchanged, by halves of halves.
#if defined(__clang__)
#define MINILLM_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MINILLM_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, vi{__VA_ARGS__})
#endif
template <int STEP = LANES / 2>
inline void transpose(vf (&x)[LANES]) {
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++) {
    if (i & STEP) continue;
    const vf a = x[i], b = x[i + STEP];
#if defined(__AVX512F__) && defined(__AVX512DQ__)
    if constexpr (STEP == 8) {
      x[i] = MINILLM_SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
      x[i + STEP] = MINILLM_SHUFFLE(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    } else if constexpr (STEP == 4) {
      x[i] = MINILLM_SHUFFLE(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
      x[i + STEP] = MINILLM_SHUFFLE(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    } else if constexpr (STEP == 2) {
      x[i] = MINILLM_SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      x[i + STEP] = MINILLM_SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    } else {
      x[i] = MINILLM_SHUFFLE(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
      x[i + STEP] = MINILLM_SHUFFLE(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
    }
#else
    if constexpr (STEP == 4) {
      x[i] = MINILLM_SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
      x[i + STEP] = MINILLM_SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
    } else if constexpr (STEP == 2) {
      x[i] = MINILLM_SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
      x[i + STEP] = MINILLM_SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    } else {
      x[i] = MINILLM_SHUFFLE(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
      x[i + STEP] = MINILLM_SHUFFLE(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
    }
#endif
  }
  if constexpr (STEP > 1) transpose<STEP / 2>(x);
}

}  // namespace minillm
