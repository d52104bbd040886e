// The inside of a matrix product: a tile of C in registers, and what happens to it on its way to memory.
#pragma once
#include <algorithm>

#include "activations.h"
#include "gemm.h"
#include "vec.h"

namespace minillm {

// Panels of A are MR rows high, panels of B are NV registers wide. A tile has as many sums as there are registers for: 24 of
// AVX-512's 32, 12 of AVX2's 16. Those are MR rows of one panel, or half a panel's rows of two abreast: that reads a third less
// for as many sums, which tells where another thread shares the core. AVX2 has too few registers for the second.
constexpr int MR = LANES == 16 ? 12 : 6, NV = 2, NR = NV * LANES, ABREAST = LANES == 16 ? 2 : 1;

constexpr int CACHE_LINE = 16;  // floats
constexpr int ROWS_AHEAD = 24;  // of a matrix, asked for before they are packed

// What the end of a tile will touch: C, and the same place in matrices like it. They are in no cache near by.
struct Touched {
  const float* matrices[3];
  int count = 0;
  int64_t stride = 0;
  void prefetch(int64_t row, int width) const {
    for (int m = 0; m < count; m++)
      for (int i = 0; i < width; i += CACHE_LINE) __builtin_prefetch(matrices[m] + row * stride + i, 1);
  }
};

// Panels of B (K x NR) where they are: packed ones, whose rows follow each other, `stride` apart.
struct Packed {
  const float* data;
  int64_t stride;
  vf load(int64_t k, int j) const { return minillm::load(data + k * NR + j / NV * stride + j % NV * LANES); }
};

// The same, and meanwhile memory that is needed next is asked for, as much of it.
template <int WIDE>
struct PackedAhead : Packed {
  const float* next;
  vf load(int64_t k, int j) const {
    __builtin_prefetch(next + (k * WIDE + j) * LANES, 0, 2);
    return Packed::load(k, j);
  }
};

// One that is read as it lies in memory, its rows `stride` apart. AHEAD: the row is asked for that lies so much further down.
template <int AHEAD>
struct InPlace {
  const float* data;
  int64_t stride;
  vf load(int64_t k, int j) const {
    const float* row = data + k * stride + j * LANES;
    // Into the second cache: the first has too few lines on their way for memory that is far.
    if constexpr (AHEAD > 0) __builtin_prefetch(row + AHEAD * stride, 0, 2);
    return minillm::load(row);
  }
};

// The same of 16-bit numbers. They are left behind widened, K x NR, for the rows below.
template <int AHEAD, class Half>
struct Widening {
  const Half* data;
  int64_t stride;
  float* kept;
  vf load(int64_t k, int j) const {
    const Half* row = data + k * stride + j * LANES;
    if (j == 0) __builtin_prefetch(row + AHEAD * stride, 0, 2);
    const vf x = minillm::load(row);
    minillm::store(kept + k * NR + j * LANES, x);
    return x;
  }
};

// What was left behind. Read once and not again for every row, as compilers would: reads are dear where sums are few.
struct Kept {
  const float* data;
  vf load(int64_t k, int j) const {
    vf x = minillm::load(data + k * NR + j * LANES);
#if defined(__x86_64__)
    __asm__("" : "+v"(x));
#endif
    return x;
  }
};

// acc += ROWS rows of a panel of A (K x MR) times panels of B. What is touched at the end is asked for a row at a time over three
// quarters of the sums, in STEPS: all at once would hold up what the sums read.
template <int STEPS, class B, int ROWS, int WIDE>
inline void tile(int64_t K, const float* a, const B& b, vf (&acc)[ROWS][WIDE], const Touched& touched) {
  const auto add = [&](int64_t k) {
    vf right[WIDE];
    for (int j = 0; j < WIDE; j++) right[j] = b.load(k, j);
#pragma GCC unroll 12
    for (int i = 0; i < ROWS; i++) {
      const vf left = all(a[k * MR + i]);
      for (int j = 0; j < WIDE; j++) acc[i][j] += left * right[j];
    }
  };
  int64_t k = 0;
  for (int step = 0; step < STEPS; step++) {
    touched.prefetch(step, WIDE * LANES);
    const int64_t until = step + 1 < STEPS ? K * (step + 1) * 3 / (4 * STEPS) : K;
    for (; k + 4 <= until; k += 4)
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) add(k + i);
  }
  for (; k < K; k++) add(k);
}

// acc = that many rows of a panel of A times panels of B.
template <int HIGH, int WIDE, class B, int ROWS = HIGH>
inline void tileOf(int rows, int64_t K, const float* a, const B& b, vf (&acc)[HIGH][WIDE], const Touched& touched) {
  if constexpr (ROWS > 1) {
    if (rows < ROWS) return tileOf<HIGH, WIDE, B, ROWS - 1>(rows, K, a, b, acc, touched);
  }
  // By their own name: through `acc`, which might be anything, every sum would go to memory.
  vf sums[ROWS][WIDE];
#pragma GCC unroll 12
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < WIDE; j++) sums[i][j] = all(0);
  tile<ROWS>(K, a, b, sums, touched);
#pragma GCC unroll 12
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < WIDE; j++) acc[i][j] = sums[i][j];
}

// The same, added to sums in memory, or in their place where it begins them.
template <class B, int ROWS = MR>
inline void sumsOf(int rows, int64_t K, const float* a, const B& b, float* sums, bool begins) {
  if constexpr (ROWS > 1) {
    if (rows < ROWS) return sumsOf<B, ROWS - 1>(rows, K, a, b, sums, begins);
  }
  vf acc[ROWS][NV];
#pragma GCC unroll 12
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < NV; j++) acc[i][j] = begins ? all(0) : load(sums + (i * NV + j) * LANES);
  tile<1>(K, a, b, acc, {});
#pragma GCC unroll 12
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < NV; j++) store(sums + (i * NV + j) * LANES, acc[i][j]);
}

struct Store {
  float* c;  // first element of the tile
  int64_t ldc, row, col;
  bool add;  // a later part of the sum over K
  const Epilogue* end;  // null until the sum is complete

  Touched touched() const {
    Touched all{{c}, 1, ldc};
    if (!end) return all;
    for (const float* matrix : {end->residual, end->factor, end->gate, static_cast<const float*>(end->slope)})
      if (matrix && all.count < 3) all.matrices[all.count++] = matrix + row * ldc + col;
    return all;
  }
};

// `at`: where the first of these numbers lies in a matrix like C.
inline vf complete(vf x, const Epilogue& end, int64_t col, int64_t at, int count) {
  if (end.bias) x += loadAt(end.bias + col, count);
  if (end.residual) x += loadAt(end.residual + at, count);
  if (end.slope) {
    vf slope;
    x = gelu(x, slope);
    storeAt(end.slope + at, slope, count);
  } else if (end.gelu) {
    x = gelu(x);
  }
  if (end.gate) x *= silu(loadAt(end.gate + at, count));
  if (end.factor) x *= loadAt(end.factor + at, count);
  return x;
}

template <int HIGH, int WIDE>
inline void finish(const vf (&acc)[HIGH][WIDE], int rows, int cols, const Store& s) {
  if (cols == WIDE * LANES && !(s.end && s.end->any())) {
    for (int i = 0; i < rows; i++) {
      float* c = s.c + i * s.ldc;
      for (int j = 0; j < WIDE; j++) store(c + j * LANES, s.add ? load(c + j * LANES) + acc[i][j] : acc[i][j]);
    }
    return;
  }
  for (int i = 0; i < rows; i++) {
    float* c = s.c + i * s.ldc;
    for (int j = 0; j * LANES < cols; j++) {
      const int count = std::min<int>(LANES, cols - j * LANES);
      vf x = acc[i][j];
      if (s.add) x += loadAt(c + j * LANES, count);
      if (s.end) x = complete(x, *s.end, s.col + j * LANES, (s.row + i) * s.ldc + s.col + j * LANES, count);
      storeAt(c + j * LANES, x, count);
    }
  }
}

}  // namespace minillm
