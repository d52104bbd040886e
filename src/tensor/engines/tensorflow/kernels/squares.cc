// The fewest rows by a transpose: squares of B are turned round in registers and used up there, one after another as they lie. To
// write them down first would take longer than their memory takes to come.
#include <cstring>

#include "transposed.h"

namespace minillm {
namespace {

// Sums of one row wait for each other, so several squares go along side by side.
constexpr int ABREAST_SQUARES = 4, COLUMNS = ABREAST_SQUARES * LANES, MOST_ROWS = 5;

thread_local Scratch scratchA, scratchB;

// The numbers of a register of each line, from 32-bit lanes: as many as there are, or only `count` of the line.
template <class Element>
inline vf lineAt(const Element* p, int count) {
  constexpr int STEP = LANES * 4 / static_cast<int>(sizeof(Element));
  if (count == STEP) return load(reinterpret_cast<const float*>(p));
  Element some[STEP] = {};
  std::memcpy(some, p, count * sizeof(Element));
  return load(reinterpret_cast<const float*>(some));
}

// sums[r] += `count` numbers of row r of A, which are packed K x ROWS, times those of LANES lines of B.
template <int ROWS, class Element>
inline void square(const float* a, const Element* b, int64_t stride, int count, vf (&sums)[ROWS]) {
  vf lines[LANES];
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++) lines[i] = lineAt(b + i * stride, count);
  transpose(lines);
  const auto add = [&](int k, vf right) {
    if (k >= count) return;
    for (int r = 0; r < ROWS; r++) sums[r] = fused(all(a[k * ROWS + r]), right, sums[r]);
  };
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++) {
    if constexpr (std::is_same_v<Element, float>) {
      add(i, lines[i]);
    } else {
      add(2 * i, first<Element>((vi)lines[i]));
      add(2 * i + 1, second<Element>((vi)lines[i]));
    }
  }
}

// COLUMNS columns of C from a part of K. `next`, if any: as much memory as these lines take, asked for meanwhile.
template <int ROWS, class Element>
void columns(int64_t K, int cols, const float* a, const Element* b, int64_t stride, const char* next, const Store& s) {
  constexpr int STEP = LANES * 4 / static_cast<int>(sizeof(Element)), FETCHED = LANES * LANES * 4 / 64;
  vf sums[ABREAST_SQUARES][ROWS];
  for (auto& ofSquare : sums)
    for (vf& x : ofSquare) x = all(0);
  int64_t k = 0;
  for (; k + STEP <= K; k += STEP)
#pragma GCC unroll 4
    for (int q = 0; q < ABREAST_SQUARES; q++) {
      for (int i = 0; next && i < FETCHED; i++, next += 64) __builtin_prefetch(next);
      square(a + k * ROWS, b + q * LANES * stride + k, stride, STEP, sums[q]);
    }
  if (k < K)
    for (int q = 0; q < ABREAST_SQUARES; q++)
      square(a + k * ROWS, b + q * LANES * stride + k, stride, static_cast<int>(K - k), sums[q]);
  vf acc[ROWS][ABREAST_SQUARES];
  for (int r = 0; r < ROWS; r++)
    for (int q = 0; q < ABREAST_SQUARES; q++) acc[r][q] = sums[q][r];
  finish(acc, ROWS, cols, s);
}

template <int ROWS, class Element>
void multiplySquares(int64_t N, const Parts& parts, Matrix a, const Element* b, int64_t stride, float* c, int64_t ldc) {
  float* left = scratchA.floats(ROWS * parts.K);
  for (int64_t k = 0; k < parts.K; k++)
    for (int r = 0; r < ROWS; r++) left[k * ROWS + r] = a.floats()[r * a.rowStride + k * a.colStride];
  const int64_t blocks = up(N, COLUMNS) / COLUMNS;
  parallelRanges(blocks, std::clamp<int64_t>(blocks / (8 * threads()), 1, 8), [&](int64_t b0, int64_t b1) {
    for (int64_t j = b0 * COLUMNS; j < std::min(N, b1 * COLUMNS); j += COLUMNS) {
      const int cols = static_cast<int>(std::min<int64_t>(COLUMNS, N - j));
      for (int64_t i = 0; i < parts.count; i++) {
        const Part part = parts[i];
        const Element* lines = b + j * stride + part.k0;
        const bool ahead = j + 2 * COLUMNS <= N;
        const char* next = ahead ? reinterpret_cast<const char*>(b + (j + COLUMNS) * stride + COLUMNS * part.k0) : nullptr;
        const Store at{c + j, ldc, 0, j, part.add, part.finishing};
        if (cols == COLUMNS) columns<ROWS>(part.k, cols, left + part.k0 * ROWS, lines, stride, next, at);
        else columns<ROWS>(part.k, cols, left + part.k0 * ROWS, padded(lines, stride, cols, COLUMNS, part.k, scratchB), part.k, nullptr, at);
      }
    }
  });
}

template <class Element, int ROWS = MOST_ROWS>
void ofRows(int64_t M, int64_t N, const Parts& parts, Matrix a, const Element* b, int64_t stride, float* c, int64_t ldc) {
  if constexpr (ROWS > 1)
    if (M < ROWS) return ofRows<Element, ROWS - 1>(M, N, parts, a, b, stride, c, ldc);
  multiplySquares<ROWS>(N, parts, a, b, stride, c, ldc);
}

}  // namespace

bool fitsSquares(int64_t M, const Parts& parts, Matrix b) { return M <= MOST_ROWS && readsAcross(parts, b); }

void multiplyBySquares(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc) {
  if (b.kind == Kind::FLOAT) ofRows(M, N, parts, a, b.floats(), b.colStride, c, ldc);
  else ofRows(M, N, parts, a, static_cast<const Bfloat16*>(b.data), b.colStride, c, ldc);
}

}  // namespace minillm
