// Products of few rows, as decoding has them: B passes by once, and how fast it comes from memory is what counts.
#include "fewRows.h"
#include "transposed.h"

#include <cstring>

namespace minillm {
namespace {

// B is read where it lies, some of its rows at a time, of each a strip of columns, so that memory sees long runs. Rows of float32 are
// far apart, often by so much that they share a place in the first cache; of 16-bit rows what is widened lies together. A strip has
// SUMS sums, which fit the second cache, and what the rows below the first read again is in one near by.
constexpr int64_t FEWER = 128, SUMS = 1 << 16, LONGEST = 2048, RUN_OF_FLOATS = 16, RUN_OF_HALVES = 32;
constexpr int64_t LONG = 1 << 20;  // floats of A packed at a time beside it

constexpr int WIDE = ABREAST * NR;  // panels of B side by side

thread_local Scratch scratchA, scratchB, scratchC;

// Rows of A in a panel: as many in each, for a panel of few has too few sums on their way. Of panels abreast each has enough.
int64_t heightOf(int64_t M) {
  const int64_t panels = (M + MR - 1) / MR;
  return ABREAST > 1 ? MR : (M + panels - 1) / panels;
}

// body(first, last, leftOf) for as many parts of K at a time as make `most` floats of A, which all threads have packed: those of a
// part are at leftOf(part).
template <class Body>
void inParts(int64_t M, const Parts& parts, Matrix a, int64_t most, Body body) {
  const int64_t height = heightOf(M), panels = (M + height - 1) / height, high = panels * MR, together = std::max<int64_t>(1, most / (high * parts.depth));
  for (int64_t first = 0; first < parts.count; first += together) {
    const int64_t last = std::min(parts.count, first + together);
    float* left = scratchA.floats(high * parts.depth * (last - first));
    const auto leftOf = [&](const Part& part) { return left + high * (part.k0 - parts[first].k0); };
    parallelRanges(panels * (last - first), 2, [&](int64_t p0, int64_t p1) {
      for (int64_t p = p0; p < p1; p++) {
        const Part part = parts[first + p / panels];
        const int64_t panel = p % panels, row = panel * height;
        packA(from(a, row, part.k0), std::min(height, M - row), part.k, leftOf(part) + panel * MR * part.k);
      }
    });
    body(first, last, leftOf);
  }
}

// What a part of K adds to the rows of C below a strip of B; `a` is packed.
void strip(int64_t M, int64_t cols, int64_t K, const float* a, Matrix b, const Store& s) {
  const int64_t height = heightOf(M), panels = (M + height - 1) / height, high = panels * MR;
  float* sums = scratchC.floats(high * up(cols, NR));
  const int64_t runs = b.kind == Kind::FLOAT ? RUN_OF_FLOATS : RUN_OF_HALVES;
  alignas(64) float edge[RUN_OF_HALVES * NR];
  for (int64_t k = 0; k < K; k += runs) {
    const int64_t run = std::min(runs, K - k);
    for (int64_t j = 0; j < cols; j += NR) {
      Matrix panel = from(b, k, j);
      if (cols - j < NR) {
        packPanel(panel, run, static_cast<int>(cols - j), edge);
        panel = {edge, NR, 1};
      }
      for (int64_t p = 0; p < panels; p++) {
        const int rows = static_cast<int>(std::min(height, M - p * height));
        const auto sumUp = [&](const auto& right) {
          sumsOf(rows, run, a + (p * K + k) * MR, right, sums + j * high + p * MR * NR, k == 0);
        };
        if (p > 0 && b.kind != Kind::FLOAT) sumUp(Kept{edge});
        else if (panel.kind == Kind::BFLOAT16) sumUp(Widening<RUN_OF_HALVES, Bfloat16>{static_cast<const Bfloat16*>(panel.data), panel.rowStride, edge});
        else if (panel.kind == Kind::FLOAT16) sumUp(Widening<RUN_OF_HALVES, Float16>{static_cast<const Float16*>(panel.data), panel.rowStride, edge});
        else if (p == 0) sumUp(InPlace<RUN_OF_FLOATS>{panel.floats(), panel.rowStride});
        else sumUp(InPlace<0>{panel.floats(), panel.rowStride});
      }
    }
  }
  for (int64_t j = 0; j < cols; j += NR)
    for (int64_t p = 0, i = 0; p < panels; p++, i += height) {
      const int wide = static_cast<int>(std::min<int64_t>(NR, cols - j)), rows = static_cast<int>(std::min(height, M - i));
      vf acc[MR][NV];
      std::memcpy(acc, sums + (j * panels + p * NR) * MR, rows * NR * sizeof(float));
      finish(acc, rows, wide, {s.c + i * s.ldc + j, s.ldc, s.row + i, s.col + j, s.add, s.end});
    }
}

void multiplyStrips(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc) {
  const int64_t longest = std::min(LONGEST, SUMS / up(M, MR));
  const Shares strips(N, NR, std::max<int64_t>(2 * threads(), (N + longest - 1) / longest));
  inParts(M, parts, a, LONG, [&](int64_t first, int64_t last, const auto& leftOf) {
    parallel(strips.count, [&](int64_t t) {
      const int64_t j = strips.from(t);
      for (int64_t i = first; i < last; i++) {
        const Part part = parts[i];
        strip(M, strips.size(t), part.k, leftOf(part), from(b, part.k0, j), {c + j, ldc, 0, j, part.add, part.finishing});
      }
    });
  });
}

// What is packed of A stays in the second cache, and the threads share out the panels of B. Each passes by once, in one place of the
// first cache. Where B is the transpose of a whole matrix, the next panels are one piece of memory, which is asked for while the
// sums go on.
void multiplyPanels(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc) {
  const int64_t panels = (N + WIDE - 1) / WIDE;
  float* sums = parts.end.columnSums;
  inParts(M, parts, a, FEW * KC, [&](int64_t first, int64_t last, const auto& leftOf) {
    parallelRanges(panels, std::clamp<int64_t>(panels / (2 * threads()), 1, 4), [&](int64_t p0, int64_t p1) {
      float* packed = scratchB.floats(WIDE * KC);
      for (int64_t j = p0 * WIDE; j < std::min(N, p1 * WIDE); j += WIDE) {
        const int64_t cols = std::min<int64_t>(WIDE, N - j);
        for (int64_t i = first; i < last; i++) {
          const Part part = parts[i];
          packPanels(from(b, part.k0, j), part.k, cols, packed, sums ? sums + j : nullptr);
          const int64_t ahead = (j + WIDE) * parts.K + part.k0 * WIDE;
          const float* next = b.colStride == parts.K ? static_cast<const float*>(from(b, ahead, 0).data) : nullptr;
          if constexpr (ABREAST > 1) {
            block<ABREAST>(M, cols, part.k, leftOf(part), packed, {c + j, ldc, 0, j, part.add, part.finishing}, next);
          } else {
            const int64_t height = heightOf(M);
            for (int64_t p = 0, i = 0; i < M; p++, i += height)
              block<1>(std::min(height, M - i), cols, part.k, leftOf(part) + p * MR * part.k, packed,
                       {c + i * ldc + j, ldc, i, j, part.add, part.finishing}, i == 0 ? next : nullptr);
          }
        }
      }
    });
  });
}

}  // namespace

void multiplyFewRows(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc) {
  const bool inPlace = M <= FEWER && b.colStride == 1 && parts.K > 0 && !parts.end.columnSums;
  const auto multiplies = fitsSquares(M, parts, b) ? multiplyBySquares
                          : fitsLanes(M, parts, b) ? multiplyByLanes
                          : inPlace ? multiplyStrips : multiplyPanels;
  multiplies(M, N, parts, a, b, c, ldc);
}

}  // namespace minillm
