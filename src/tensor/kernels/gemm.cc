// Goto and van de Geijn's scheme (Anatomy of High-Performance Matrix Multiplication, 2008): panels of A and B are copied
// into the order in which a small kernel reads them, blocked for the caches; the kernel keeps a tile of C in registers.
#include "gemm.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "packing.h"
#include "pool.h"
#include "tile.h"

namespace minillm {
namespace {

constexpr int64_t KC = 256;   // a panel of B, KC * NR floats, fits the first cache; several abreast come from the second
constexpr int64_t MC = 96;    // a block of A, MC * KC floats, fits the second
constexpr int64_t NC = 1024;  // a block of C, MC * NC floats, fits the second beside it
constexpr int64_t DEEP = 4;   // parts of K: a block of B, DEEP * KC * NC floats, fits the last
constexpr int64_t FEW = 256;  // rows: FEW * KC floats and a panel of B fit the second

constexpr int WIDE = ABREAST * NR;  // panels of B side by side

// The same where many rows pass below them. Zen 4 (Zen 3 to compilers that do not know it) halves its registers: its sums take
// twice as long as elsewhere, so that reads do not hold them up, but a neighbour in the second cache does.
#if defined(__znver3__) || defined(__znver4__)
constexpr int MANY_ABREAST = 1;
#else
constexpr int MANY_ABREAST = ABREAST;
#endif

int64_t up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

// The rows of C below panels of B, from packed blocks.
template <int PANELS>
void below(int64_t rows, int cols, int64_t K, const float* a, const float* b, Store s) {
  constexpr int HIGH = MR / PANELS;
  for (int64_t i = 0; i < rows; i += HIGH, s.row += HIGH, s.c += HIGH * s.ldc) {
    const int high = static_cast<int>(std::min<int64_t>(HIGH, rows - i));
    vf acc[HIGH][PANELS * NV];
    tileOf<Panel::PACKED>(high, K, a + (i - i % MR) * K + i % MR, b, NR * K, nullptr, acc, s.touched());
    finish(acc, high, cols, s);
  }
}

// A block of C from packed blocks of A and B.
template <int PANELS>
void block(int64_t rows, int64_t cols, int64_t K, const float* a, const float* b, Store s) {
  while (cols > 0) {
    const int wide = static_cast<int>(std::min<int64_t>(PANELS * NR, cols));
    (wide > NR ? below<PANELS> : below<1>)(rows, wide, K, a, b, s);
    cols -= wide;
    b += wide * K;
    s.col += wide;
    s.c += wide;
  }
}

Matrix from(Matrix m, int64_t row, int64_t col) {
  return {m.data + row * m.rowStride + col * m.colStride, m.rowStride, m.colStride};
}

// The same for panels of B that are not packed yet. The first rows pack them if there are more.
void blockOfPanels(int64_t rows, int cols, int64_t K, const float* a, Matrix b, float* packed, float* sums, const Store& s) {
  const int high = static_cast<int>(std::min<int64_t>(MR, rows));
  for (int j = 0; j < cols; j += NR) {
    const int wide = std::min(NR, cols - j);
    const Matrix panel = from(b, 0, j);
    const Store at{s.c + j, s.ldc, s.row, s.col + j, s.add, s.end};
    vf acc[MR][NV];
    if (wide < NR || b.colStride != 1 || sums) {
      packPanel(panel, K, wide, packed + j * K, sums ? sums + j : nullptr);
      tileOf<Panel::PACKED>(high, K, a, packed + j * K, 0, nullptr, acc, at.touched());
    } else if (rows <= MR) {
      tileOf<Panel::PASSING>(high, K, a, panel.data, b.rowStride, nullptr, acc, at.touched());
    } else {
      tileOf<Panel::COPIED>(high, K, a, panel.data, b.rowStride, packed + j * K, acc, at.touched());
    }
    finish(acc, high, wide, at);
  }
  if (rows > MR) block<ABREAST>(rows - MR, cols, K, a + MR * K, packed, {s.c + MR * s.ldc, s.ldc, s.row + MR, s.col, s.add, s.end});
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

thread_local Scratch scratchA, scratchB, scratchC;

// How the threads share out M rows: in panels, each thread as many tasks, all of nearly the same height.
struct RowTasks {
  int64_t M, panels, count;
  explicit RowTasks(int64_t M) : M(M), panels(up(M, MR) / MR) {
    count = std::max<int64_t>(2 * threads(), up((panels * MR + MC - 1) / MC, threads()));
  }
  int64_t row(int64_t t) const { return std::min(M, t * panels / count * MR); }
  int64_t rows(int64_t t) const { return row(t + 1) - row(t); }
};

// A block of B, parts first..last of its columns j0..j0 + n, packed by all threads into `to`: part i at `stride` times i - first.
void packBlock(Matrix b, const Parts& parts, int64_t first, int64_t last, int64_t j0, int64_t n, float* to, int64_t stride,
               float* sums) {
  parallelRanges(up(n, NR) / NR, 4, [&](int64_t p0, int64_t p1) {
    for (int64_t j = p0 * NR; j < std::min(n, p1 * NR); j += NR)
      for (int64_t i = first; i < last; i++)
        packPanel(from(b, parts[i].k0, j0 + j), parts[i].k, static_cast<int>(std::min<int64_t>(NR, n - j)),
                  to + stride * (i - first) + j * parts[i].k, sums ? sums + j0 + j : nullptr);
  });
}

// Few rows: all of A is packed, as many parts of K at a time as fit the second cache, and the threads share out the panels of
// B. Each passes by once, in one place of the first cache.
void multiplyFewRows(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc) {
  const int64_t high = up(M, MR), panels = (N + WIDE - 1) / WIDE;
  const int64_t together = std::max<int64_t>(1, FEW * KC / (high * parts.depth));
  float* sums = parts.end.columnSums;
  for (int64_t first = 0; first < parts.count; first += together) {
    const int64_t last = std::min(parts.count, first + together);
    float* left = scratchA.floats(high * parts.depth * (last - first));
    const auto leftOf = [&](int64_t i) { return left + high * parts.depth * (i - first); };
    parallelRanges(high / MR, 2, [&](int64_t r0, int64_t r1) {
      const int64_t row = r0 * MR, rows = std::min(M, r1 * MR) - row;
      for (int64_t i = first; i < last; i++) packA(from(a, row, parts[i].k0), rows, parts[i].k, leftOf(i) + row * parts[i].k);
    });
    parallelRanges(panels, std::clamp<int64_t>(panels / (2 * threads()), 1, 4), [&](int64_t p0, int64_t p1) {
      float* packed = scratchB.floats(WIDE * KC);
      for (int64_t j = p0 * WIDE; j < std::min(N, p1 * WIDE); j += WIDE) {
        const int cols = static_cast<int>(std::min<int64_t>(WIDE, N - j));
        for (int64_t i = first; i < last; i++) {
          const Part part = parts[i];
          blockOfPanels(M, cols, part.k, leftOf(i), from(b, part.k0, j), packed, sums ? sums + j : nullptr,
                        {c + j, ldc, 0, j, part.add, part.finishing});
        }
      }
    });
  }
}

// Many rows: the threads share them out. Of C a block at a time, over DEEP parts of K while it is in the second cache; their B
// is packed by all.
void multiplyManyRows(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc) {
  const RowTasks tasks(M);
  for (int64_t first = 0; first < parts.count; first += DEEP) {
    const int64_t last = std::min(parts.count, first + DEEP);
    for (int64_t j0 = 0; j0 < N; j0 += NC) {
      const int64_t n = std::min(NC, N - j0), stride = up(n, NR) * parts.depth;
      float* right = scratchB.floats(stride * (last - first));
      packBlock(b, parts, first, last, j0, n, right, stride, parts.end.columnSums);
      parallel(tasks.count, [&](int64_t t) {
        const int64_t row = tasks.row(t), rows = tasks.rows(t);
        float* left = scratchA.floats(up(rows, MR) * parts.depth);
        for (int64_t i = first; i < last; i++) {
          const Part part = parts[i];
          packA(from(a, row, part.k0), rows, part.k, left);
          const Store at{c + row * ldc + j0, ldc, row, j0, part.add, part.finishing};
          block<MANY_ABREAST>(rows, n, part.k, left, right + stride * (i - first), at);
        }
      });
    }
  }
}

}  // namespace

Scratch::~Scratch() { std::free(data); }

float* Scratch::floats(int64_t count) {
  if (count > size) {
    std::free(data);
    size = up(count, 1024);
    data = static_cast<float*>(std::aligned_alloc(64, size * sizeof(float)));
    if (!data) throw std::bad_alloc();
  }
  return data;
}

void multiply(int64_t M, int64_t N, int64_t K, Matrix a, Matrix b, float* c, int64_t ldc, const Epilogue& end) {
  if (end.columnSums) std::fill_n(end.columnSums, N, 0.f);
  if (M == 0 || N == 0) return;
  const bool few = M <= MC || (M <= FEW && N >= 4 * NR * threads());
  (few ? multiplyFewRows : multiplyManyRows)(M, N, Parts(K, end), a, b, c, ldc);
}

void multiplyInBlocks(int64_t M, int64_t N, int64_t K, Matrix a, Matrix b, const Visit& visit) {
  if (M == 0) return;
  const Epilogue nothing;
  const Parts parts(K, nothing);
  const RowTasks tasks(M);
  const int64_t deep = parts.depth * parts.count;
  float* left = scratchA.floats(up(M, MR) * deep);
  const auto leftOf = [&](int64_t t, int64_t i) { return left + tasks.row(t) * deep + up(tasks.rows(t), MR) * parts[i].k0; };
  parallel(tasks.count, [&](int64_t t) {
    for (int64_t i = 0; i < parts.count; i++) packA(from(a, tasks.row(t), parts[i].k0), tasks.rows(t), parts[i].k, leftOf(t, i));
  });
  for (int64_t j0 = 0; j0 < N; j0 += NC) {
    const int64_t n = std::min(NC, N - j0), stride = up(n, NR) * parts.depth;
    float* right = scratchB.floats(stride * parts.count);
    packBlock(b, parts, 0, parts.count, j0, n, right, stride, nullptr);
    parallel(tasks.count, [&](int64_t t) {
      float* c = scratchC.floats(MC * n);
      for (int64_t i = 0; i < parts.count; i++)
        block<MANY_ABREAST>(tasks.rows(t), n, parts[i].k, leftOf(t, i), right + stride * i, {c, n, 0, 0, parts[i].add, nullptr});
      visit(tasks.row(t), tasks.rows(t), j0, n, c, n);
    });
  }
}

void multiplySerial(int64_t M, int64_t N, int64_t K, Matrix a, Matrix b, float* c, int64_t ldc, Scratch& work,
                    const Epilogue& end) {
  const Parts parts(K, end);
  float* right = work.floats((up(N, NR) + up(M, MR)) * parts.depth);
  float* left = right + up(N, NR) * parts.depth;
  for (int64_t i = 0; i < parts.count; i++) {
    const Part part = parts[i];
    for (int64_t j = 0; j < N; j += NR)
      packPanel(from(b, part.k0, j), part.k, static_cast<int>(std::min<int64_t>(NR, N - j)), right + j * part.k);
    packA(from(a, 0, part.k0), M, part.k, left);
    block<MANY_ABREAST>(M, N, part.k, left, right, {c, ldc, 0, 0, part.add, part.finishing});
  }
}

}  // namespace minillm
