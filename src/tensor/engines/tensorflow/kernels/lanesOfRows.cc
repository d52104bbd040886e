// The lanes of a register are rows of A, and every number of B is spread over one: so the rows of B's transpose are read one after
// another as they lie, and nothing is turned round but the sums at the end.
#include <cstring>

#include "fewRows.h"
#include "transposed.h"

namespace minillm {
namespace {

// Sums in registers, as many as a tile has; columns of C at a time; and registers of A side by side: with more rows the panels are as fast.
constexpr int SUMS = MR * NV, COLUMNS = 3 * LANES, MOST = 2;

thread_local Scratch scratchA, scratchB;

// Lines of memory, `stride` apart: each number of one has a register to itself.
template <class Element>
struct Lines {
  const Element* first;
  int64_t stride;
  // A pointer for four lines, so that few registers hold the addresses of all.
  template <int COUNT, class Body>
  inline void each(int64_t k, Body body) const {
    const Element* line = first + k;
#pragma GCC unroll 6
    for (int i = 0; i < COUNT; i += 4, line += 4 * stride)
      for (int j = 0; j < 4 && i + j < COUNT; j++) body(i + j, line + j * stride);
  }
};

inline float widened(float x) { return x; }
inline float widened(Bfloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float y;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

inline vi pairAt(const Bfloat16* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  vi all = pair - vi{};
  // Compilers would part the pair first, and spread each number by itself.
#if defined(__x86_64__)
  __asm__("" : "+v"(all));
#endif
  return all;
}

// sums[c] += line c of B times the rows of A, which are packed, K x REGISTERS. `next`, if any: as much memory as these lines, asked
// for meanwhile.
template <int COUNT, int REGISTERS, class Element>
void sumUp(int64_t K, const float* a, Lines<Element> b, const char* next, vf (&out)[COUNT][REGISTERS]) {
  constexpr int STEP = 16, FETCHED = STEP * COUNT * static_cast<int>(sizeof(Element)) / 64;
  vf sums[COUNT][REGISTERS];
#pragma GCC unroll 24
  for (int c = 0; c < COUNT; c++)
    for (int r = 0; r < REGISTERS; r++) sums[c][r] = all(0);
  const auto add = [&](int c, vf x, const vf (&left)[REGISTERS]) {
    for (int r = 0; r < REGISTERS; r++) sums[c][r] = fused(left[r], x, sums[c][r]);
  };
  const auto single = [&](int64_t k) {
    vf left[REGISTERS];
    for (int r = 0; r < REGISTERS; r++) left[r] = load(a + (k * REGISTERS + r) * LANES);
    b.template each<COUNT>(k, [&](int c, const Element* at) { add(c, all(widened(*at)), left); });
  };
  const auto two = [&](int64_t k) {
    if constexpr (std::is_same_v<Element, float>) {
      single(k);
      single(k + 1);
    } else {
      vf left[2][REGISTERS];
      for (int i = 0; i < 2; i++)
        for (int r = 0; r < REGISTERS; r++) left[i][r] = load(a + ((k + i) * REGISTERS + r) * LANES);
      b.template each<COUNT>(k, [&](int c, const Element* at) {
        const vi pair = pairAt(at);
        add(c, first<Element>(pair), left[0]);
        add(c, second<Element>(pair), left[1]);
      });
    }
  };
  int64_t k = 0;
  for (; k + STEP <= K; k += STEP) {
    for (int i = 0; next && i < FETCHED; i++, next += 64) __builtin_prefetch(next, 0, 3);
    for (int i = 0; i < STEP; i += 2) two(k + i);
  }
  for (; k + 2 <= K; k += 2) two(k);
  for (; k < K; k++) single(k);
#pragma GCC unroll 24
  for (int c = 0; c < COUNT; c++)
    for (int r = 0; r < REGISTERS; r++) out[c][r] = sums[c][r];
}

// COLUMNS columns of C, of as many rows as REGISTERS hold. `next`: where the lines begin of which this part of K is needed next.
template <int REGISTERS, class Element>
void columns(int64_t rows, int cols, int64_t K, const float* a, Lines<Element> b, const Element* next, int64_t nextStride, int64_t k0, const Store& s) {
  // Where pairs are parted AVX2 has no registers left for more.
  constexpr int COUNT = REGISTERS == 1 && LANES == 8 && !std::is_same_v<Element, float> ? 8 : SUMS / REGISTERS;
  static_assert(COLUMNS % COUNT == 0);
  vf tile[COLUMNS / COUNT][COUNT][REGISTERS];
  for (int part = 0; part * COUNT < cols; part++, b.first += COUNT * b.stride) {
    const Element* line = next ? next + part * COUNT * nextStride + COUNT * k0 : nullptr;
    sumUp<COUNT, REGISTERS>(K, a, b, reinterpret_cast<const char*>(line), tile[part]);
  }
  for (int r = 0; r < REGISTERS; r++) {
    vf turned[LANES][COLUMNS / LANES];
    for (int j = 0; j < COLUMNS / LANES; j++) {
      vf square[LANES];
#pragma GCC unroll 16
      for (int i = 0; i < LANES; i++) square[i] = tile[(j * LANES + i) / COUNT][(j * LANES + i) % COUNT][r];
      transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < LANES; i++) turned[i][j] = square[i];
    }
    const int64_t at = r * LANES;
    finish(turned, static_cast<int>(std::min<int64_t>(LANES, rows - at)), cols, {s.c + at * s.ldc, s.ldc, s.row + at, s.col, s.add, s.end});
  }
}

template <int REGISTERS, class Element>
void multiplyLines(int64_t M, int64_t N, const Parts& parts, Matrix a, Lines<Element> b, float* c, int64_t ldc) {
  constexpr int64_t HIGH = REGISTERS * LANES;
  const int64_t blocks = up(N, COLUMNS) / COLUMNS;
  const int64_t together = std::max<int64_t>(1, FEW * KC / (HIGH * parts.depth));
  for (int64_t first = 0; first < parts.count; first += together) {
    const int64_t last = std::min(parts.count, first + together), k0 = parts[first].k0;
    float* left = scratchA.floats(HIGH * parts.depth * (last - first));
    const auto leftOf = [&](const Part& part) { return left + HIGH * (part.k0 - k0); };
    parallel(last - first, [&](int64_t t) {
      const Part part = parts[first + t];
      interleave<HIGH>(from(a, 0, part.k0).floats(), a.rowStride, a.colStride, static_cast<int>(M), part.k, leftOf(part));
    });
    parallelRanges(blocks, std::clamp<int64_t>(blocks / (8 * threads()), 1, 8), [&](int64_t b0, int64_t b1) {
      for (int64_t j = b0 * COLUMNS; j < std::min(N, b1 * COLUMNS); j += COLUMNS) {
        const int cols = static_cast<int>(std::min<int64_t>(COLUMNS, N - j));
        const Element* next = j + 2 * COLUMNS <= N ? b.first + (j + COLUMNS) * b.stride : nullptr;
        for (int64_t i = first; i < last; i++) {
          const Part part = parts[i];
          Lines<Element> lines{b.first + j * b.stride + part.k0, b.stride};
          if (cols < COLUMNS) lines = {padded(lines.first, b.stride, cols, COLUMNS, part.k, scratchB), part.k};
          const Store at{c + j, ldc, 0, j, part.add, part.finishing};
          columns<REGISTERS>(M, cols, part.k, leftOf(part), lines, next, b.stride, part.k0, at);
        }
      }
    });
  }
}

template <class Element>
void multiplyAs(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc) {
  const Lines<Element> lines{static_cast<const Element*>(b.data), b.colStride};
  if (M <= LANES) multiplyLines<1>(M, N, parts, a, lines, c, ldc);
  else multiplyLines<MOST>(M, N, parts, a, lines, c, ldc);
}

}  // namespace

bool fitsLanes(int64_t M, const Parts& parts, Matrix b) {
  return M <= MOST * LANES && up(M, LANES) - M <= LANES / 4 && readsAcross(parts, b);
}

void multiplyByLanes(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc) {
  if (b.kind == Kind::FLOAT) multiplyAs<float>(M, N, parts, a, b, c, ldc);
  else multiplyAs<Bfloat16>(M, N, parts, a, b, c, ldc);
}

}  // namespace minillm
