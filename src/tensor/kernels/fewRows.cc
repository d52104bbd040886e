// Products of few rows, as decoding has them: B passes by once, and how fast it comes from memory is what counts.
#include "fewRows.h"

#include <cstring>

namespace minillm {
namespace {

// B is read where it lies, RUN of its rows at a time, of each STRIP columns, so that memory sees long runs. A strip of sums,
// FEWER * STRIP floats, fits the second cache, and what the rows below the first read again is in one near by.
constexpr int64_t FEWER = 128, STRIP = 512, RUN = 32;
constexpr int64_t LONG = 1 << 20;  // floats of A packed at a time

constexpr int WIDE = ABREAST * NR;  // panels of B side by side

thread_local Scratch scratchA, scratchB, scratchC;

// Parts first..last of all of A packed by all threads into `to`: part i at up(M, MR) times its first column less that of the first.
void packAll(Matrix a, int64_t M, const Parts& parts, int64_t first, int64_t last, float* to) {
  const int64_t high = up(M, MR), panels = high / MR;
  parallelRanges(panels * (last - first), 2, [&](int64_t p0, int64_t p1) {
    for (int64_t p = p0; p < p1; p++) {
      const Part part = parts[first + p / panels];
      const int64_t row = p % panels * MR;
      packA(from(a, row, part.k0), std::min<int64_t>(MR, M - row), part.k, to + high * (part.k0 - parts[first].k0) + row * part.k);
    }
  });
}

// The rows of C below a strip of B, for parts first..last, whose `a` is packed.
void strip(int64_t M, int64_t cols, const Parts& parts, int64_t first, int64_t last, const float* a, Matrix b, Store s) {
  const int64_t high = up(M, MR);
  float* sums = scratchC.floats(high * up(cols, NR));
  alignas(64) float edge[RUN * NR];
  for (int64_t p = first; p < last; a += high * parts[p++].k) {
    const Part part = parts[p];
    for (int64_t k = 0; k < part.k; k += RUN) {
      const int64_t run = std::min(RUN, part.k - k);
      for (int64_t j = 0; j < cols; j += NR) {
        Matrix panel = from(b, part.k0 + k, j);
        if (cols - j < NR) {
          packPanel(panel, run, static_cast<int>(cols - j), edge);
          panel = {edge, NR, 1};
        }
        for (int64_t i = 0; i < M; i += MR) {
          const int rows = static_cast<int>(std::min<int64_t>(MR, M - i));
          const float* left = a + i * part.k + k * MR;
          float* sum = sums + j * high + i * NR;
          if (i == 0) sumsOf(rows, run, left, InPlace<RUN>{panel.data, panel.rowStride}, sum, k == 0);
          else sumsOf(rows, run, left, InPlace<0>{panel.data, panel.rowStride}, sum, k == 0);
        }
      }
    }
    for (int64_t j = 0; j < cols; j += NR)
      for (int64_t i = 0; i < M; i += MR) {
        const int wide = static_cast<int>(std::min<int64_t>(NR, cols - j)), rows = static_cast<int>(std::min<int64_t>(MR, M - i));
        vf acc[MR][NV];
        std::memcpy(acc, sums + j * high + i * NR, rows * NR * sizeof(float));
        finish(acc, rows, wide, {s.c + i * s.ldc + j, s.ldc, s.row + i, s.col + j, part.add, part.finishing});
      }
  }
}

void multiplyStrips(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc) {
  const Shares strips(N, NR, std::max<int64_t>(2 * threads(), (N + STRIP - 1) / STRIP));
  const int64_t deep = up(M, MR) * parts.depth, together = std::max<int64_t>(1, LONG / deep);
  for (int64_t first = 0; first < parts.count; first += together) {
    const int64_t last = std::min(parts.count, first + together);
    float* left = scratchA.floats(deep * (last - first));
    packAll(a, M, parts, first, last, left);
    parallel(strips.count, [&](int64_t t) {
      const int64_t j = strips.from(t);
      strip(M, strips.size(t), parts, first, last, left, from(b, 0, j), {c + j, ldc, 0, j, false, nullptr});
    });
  }
}

// All of A is packed, as many parts of K at a time as fit the second cache, and the threads share out the panels of B. Each passes
// by once, in one place of the first cache. Where B is the transpose of a whole matrix, the next panels are one piece of memory,
// which is asked for while the sums go on.
void multiplyPanels(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc) {
  const int64_t high = up(M, MR), panels = (N + WIDE - 1) / WIDE;
  const int64_t together = std::max<int64_t>(1, FEW * KC / (high * parts.depth));
  float* sums = parts.end.columnSums;
  for (int64_t first = 0; first < parts.count; first += together) {
    const int64_t last = std::min(parts.count, first + together);
    float* left = scratchA.floats(high * parts.depth * (last - first));
    packAll(a, M, parts, first, last, left);
    parallelRanges(panels, std::clamp<int64_t>(panels / (2 * threads()), 1, 4), [&](int64_t p0, int64_t p1) {
      float* packed = scratchB.floats(WIDE * KC);
      for (int64_t j = p0 * WIDE; j < std::min(N, p1 * WIDE); j += WIDE) {
        const int64_t cols = std::min<int64_t>(WIDE, N - j);
        for (int64_t i = first; i < last; i++) {
          const Part part = parts[i];
          packPanels(from(b, part.k0, j), part.k, cols, packed, sums ? sums + j : nullptr);
          const float* next = b.colStride == parts.K ? b.data + (j + WIDE) * parts.K + part.k0 * WIDE : nullptr;
          block<ABREAST>(M, cols, part.k, left + high * (part.k0 - parts[first].k0), packed,
                         {c + j, ldc, 0, j, part.add, part.finishing}, next);
        }
      }
    });
  }
}

}  // namespace

void multiplyFewRows(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc) {
  const bool inPlace = M <= FEWER && b.colStride == 1 && parts.K > 0 && !parts.end.columnSums;
  (inPlace ? multiplyStrips : multiplyPanels)(M, N, parts, a, b, c, ldc);
}

}  // namespace minillm
