// What a matrix product consists of: parts of K, blocks of panels, and shares of them for the threads.
#pragma once
#include <algorithm>

#include "gemm.h"
#include "packing.h"
#include "pool.h"
#include "tile.h"

namespace minillm {

constexpr int64_t KC = 256;  // a panel of B, KC * NR floats, fits the first cache; several abreast come from the second

inline int64_t up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

inline Matrix from(Matrix m, int64_t row, int64_t col) {
  const int64_t number = row * m.rowStride + col * m.colStride, bytes = m.kind == Kind::FLOAT ? 4 : 2;
  return {static_cast<const char*>(m.data) + number * bytes, m.rowStride, m.colStride, m.kind};
}

// The blocking over K: of each part where it begins, how deep it is, and what remains to be done with its sums.
struct Part {
  int64_t k0, k;
  bool add;
  const Epilogue* finishing;
};

struct Parts {
  int64_t K, depth, count;
  const Epilogue& end;
  Parts(int64_t K, const Epilogue& end) : K(K), end(end) {
    const int64_t atLeast = std::max<int64_t>(1, (K + KC - 1) / KC);
    depth = std::max<int64_t>(LANES, up((K + atLeast - 1) / atLeast, LANES));
    count = std::max<int64_t>(1, (K + depth - 1) / depth);
  }
  Part operator[](int64_t i) const {
    return {i * depth, std::min(depth, K - i * depth), i > 0 || end.accumulate, i + 1 == count ? &end : nullptr};
  }
};

// How the threads share out rows of A or columns of B: in whole panels, each thread as many tasks, all of nearly the same size.
struct Shares {
  int64_t lines, width, panels, count;
  Shares(int64_t lines, int64_t width, int64_t tasks)
      : lines(lines), width(width), panels(up(lines, width) / width), count(up(tasks, threads())) {}
  int64_t from(int64_t t) const { return std::min(lines, t * panels / count * width); }
  int64_t size(int64_t t) const { return from(t + 1) - from(t); }
};

// The rows of C below panels of B, from packed blocks. `next`, if any: memory to ask for meanwhile, as much as these panels.
template <int PANELS>
void below(int64_t rows, int cols, int64_t K, const float* a, const float* b, Store s, const float* next) {
  constexpr int HIGH = MR / PANELS, WIDTH = PANELS * NV;
  for (int64_t i = 0; i < rows; i += HIGH, s.row += HIGH, s.c += HIGH * s.ldc) {
    const int high = static_cast<int>(std::min<int64_t>(HIGH, rows - i));
    const float* left = a + (i - i % MR) * K + i % MR;
    const Packed right{b, NR * K};
    vf acc[HIGH][WIDTH];
    if (i == 0 && next) tileOf(high, K, left, PackedAhead<WIDTH>{right, next}, acc, s.touched());
    else tileOf(high, K, left, right, acc, s.touched());
    finish(acc, high, cols, s);
  }
}

// A block of C from packed blocks of A and B.
template <int PANELS>
void block(int64_t rows, int64_t cols, int64_t K, const float* a, const float* b, Store s, const float* next = nullptr) {
  while (cols > 0) {
    const int wide = static_cast<int>(std::min<int64_t>(PANELS * NR, cols));
    (wide > NR ? below<PANELS> : below<1>)(rows, wide, K, a, b, s, next);
    cols -= wide;
    b += wide * K;
    s.col += wide;
    s.c += wide;
  }
}

// All panels of B, K rows deep, one after another; missing columns are 0.
inline void packPanels(Matrix b, int64_t K, int64_t cols, float* to, float* sums = nullptr) {
  for (int64_t j = 0; j < cols; j += NR)
    packPanel(from(b, 0, j), K, static_cast<int>(std::min<int64_t>(NR, cols - j)), to + j * K, sums ? sums + j : nullptr);
}

}  // namespace minillm
