// Panels of a matrix in the order in which a tile reads them.
#pragma once
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "tile.h"

namespace minillm {

// to[k * WIDTH + i] = element k of line i: lines of memory side by side, the missing ones 0. Element k of all lines is
// written at once, so that the writes are sequential; the reads jump, so what comes next is asked for ahead.
template <int WIDTH, class Element>
inline void interleave(const Element* from, int64_t lineStride, int64_t stride, int count, int64_t K, float* to) {
  constexpr bool floats = std::is_same_v<Element, float>;
  constexpr int LINE = CACHE_LINE * static_cast<int>(sizeof(float) / sizeof(Element));
  if (lineStride == 1) {
    for (int64_t k = 0; k < K; k++) {
      const Element* row = from + k * stride;
      for (int i = 0; i < WIDTH; i += LINE) __builtin_prefetch(row + ROWS_AHEAD * stride + i);
      if (floats && count == WIDTH) {
        std::memcpy(to + k * WIDTH, row, WIDTH * sizeof(float));
        continue;
      }
      for (int i = 0; i < WIDTH; i += LANES)
        storeAt(to + k * WIDTH + i, loadAt(row + i, std::clamp(count - i, 0, LANES)), std::min(LANES, WIDTH - i));
    }
    return;
  }
  int64_t k = 0;
  if constexpr (!floats) {
    // Two neighbours of a line are exchanged as one, and parted after it.
    for (; k + 2 * LANES <= K; k += 2 * LANES)
      for (int part = 0; part < WIDTH; part += LANES) {
        vf square[LANES];
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
          const Element* line = from + (part + i) * lineStride + k;
          square[i] = part + i < count ? load(reinterpret_cast<const float*>(line)) : all(0);
          if (k % LINE == 0) __builtin_prefetch(line + LINE);
        }
        transpose(square);
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
          store(to + (k + 2 * i) * WIDTH + part, first<Element>((vi)square[i]));
          store(to + (k + 2 * i + 1) * WIDTH + part, second<Element>((vi)square[i]));
        }
      }
  }
  // Squares of LANES lines and elements. Where WIDTH is less, a store writes on into the place of the next element, which is
  // written after it; the last one of a square writes no more than is its own.
  constexpr int LINES = std::min(WIDTH, LANES);
  static_assert(WIDTH < LANES || WIDTH % LANES == 0);
  for (; k + LANES <= K; k += LANES) {
    for (int part = 0; part < WIDTH; part += LANES) {
      vf square[LANES];
#pragma GCC unroll 16
      for (int i = 0; i < LANES; i++) {
        if (i >= LINES || part + i >= count) {
          square[i] = all(0);
          continue;
        }
        const Element* line = from + (part + i) * lineStride + k;
        square[i] = load(line);
        __builtin_prefetch(line + LINE);
      }
      transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < LANES - 1; i++) store(to + (k + i) * WIDTH + part, square[i]);
      storeAt(to + (k + LANES - 1) * WIDTH + part, square[LANES - 1], LINES);
    }
  }
  for (; k < K; k++) {
#pragma GCC unroll 16
    for (int i = 0; i < WIDTH; i++) to[k * WIDTH + i] = i < count ? number(from[i * lineStride + k]) : 0;
  }
}

// The same for the columns of PANELS panels, neighbours in memory: of one panel alone they are three quarters of a cache
// line, and where a row is long the line is gone from the cache before the next panel comes for the rest.
template <int PANELS>
inline void copyPanels(const float* from, int64_t stride, int64_t K, float* to) {
  for (int64_t k = 0; k < K; k++) {
    const float* row = from + k * stride;
    for (int i = 0; i < PANELS * MR; i += CACHE_LINE) __builtin_prefetch(row + ROWS_AHEAD * stride + i);
#pragma GCC unroll 4
    for (int p = 0; p < PANELS; p++) std::memcpy(to + (p * K + k) * MR, row + p * MR, MR * sizeof(float));
  }
}

// Rows of `a` in panels of MR, each panel K x MR; missing rows are 0.
inline void packA(Matrix a, int64_t rows, int64_t K, float* to) {
  constexpr int TOGETHER = 4;
  const float* from = a.floats();
  if (a.rowStride == 1)
    for (; rows >= TOGETHER * MR; rows -= TOGETHER * MR, from += TOGETHER * MR, to += TOGETHER * MR * K)
      copyPanels<TOGETHER>(from, a.colStride, K, to);
  for (int64_t i = 0; i < rows; i += MR, to += MR * K)
    interleave<MR>(from + i * a.rowStride, a.rowStride, a.colStride, std::min<int64_t>(MR, rows - i), K, to);
}

// One panel of B, K x NR; missing columns are 0. `sums`, if any: [cols], the columns are added to it.
inline void packPanel(Matrix b, int64_t K, int cols, float* to, float* sums = nullptr) {
  const auto pack = [&](auto* from) { interleave<NR>(from, b.colStride, b.rowStride, cols, K, to); };
  if (b.kind == Kind::FLOAT) pack(b.floats());
  else if (b.kind == Kind::BFLOAT16) pack(static_cast<const Bfloat16*>(b.data));
  else pack(static_cast<const Float16*>(b.data));
  if (!sums) return;
  vf low = all(0), high = all(0);
  for (int64_t k = 0; k < K; k++, to += NR) {
    low += load(to);
    high += load(to + LANES);
  }
  for (int i = 0; i < cols; i++) sums[i] += i < LANES ? low[i] : high[i - LANES];
}

}  // namespace minillm
