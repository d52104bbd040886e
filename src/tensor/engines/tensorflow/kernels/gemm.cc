// Goto and van de Geijn's scheme (Anatomy of High-Performance Matrix Multiplication, 2008): panels of A and B are copied
// into the order in which a small kernel reads them, blocked for the caches; the kernel keeps a tile of C in registers.
#include "gemm.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "blocking.h"
#include "fewRows.h"

namespace minillm {
namespace {

constexpr int64_t MC = 96;    // a block of A, MC * KC floats, fits the second cache
constexpr int64_t NC = 1024;  // a block of C, MC * NC floats, fits the second beside it
constexpr int64_t DEEP = 4;   // parts of K: a block of B, DEEP * KC * NC floats, fits the last

// Panels of B side by side. Zen 4 (Zen 3 to compilers that do not know it) halves its registers: its sums take twice as long as
// elsewhere, so that reads do not hold them up, but a neighbour in the second cache does.
#if defined(__znver3__) || defined(__znver4__)
constexpr int MANY_ABREAST = 1;
#else
constexpr int MANY_ABREAST = ABREAST;
#endif

thread_local Scratch scratchA, scratchB, scratchC;

Shares blocksOfRows(int64_t M) { return {M, MR, std::max<int64_t>(2 * threads(), (M + MC - 1) / MC)}; }

// A block of B, parts first..last of its columns j0..j0 + n, packed by all threads into `to`: part i at `stride` times i - first.
void packBlock(Matrix b, const Parts& parts, int64_t first, int64_t last, int64_t j0, int64_t n, float* to, int64_t stride,
               float* sums) {
  parallelRanges(up(n, NR) / NR, 4, [&](int64_t p0, int64_t p1) {
    const int64_t j = p0 * NR, cols = std::min(n, p1 * NR) - j;
    for (int64_t i = first; i < last; i++)
      packPanels(from(b, parts[i].k0, j0 + j), parts[i].k, cols, to + stride * (i - first) + j * parts[i].k,
                 sums ? sums + j0 + j : nullptr);
  });
}

// Many rows: the threads share them out. Of C a block at a time, over DEEP parts of K while it is in the second cache; their B
// is packed by all.
void multiplyManyRows(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc) {
  const Shares tasks = blocksOfRows(M);
  for (int64_t first = 0; first < parts.count; first += DEEP) {
    const int64_t last = std::min(parts.count, first + DEEP);
    for (int64_t j0 = 0; j0 < N; j0 += NC) {
      const int64_t n = std::min(NC, N - j0), stride = up(n, NR) * parts.depth;
      float* right = scratchB.floats(stride * (last - first));
      packBlock(b, parts, first, last, j0, n, right, stride, parts.end.columnSums);
      parallel(tasks.count, [&](int64_t t) {
        const int64_t row = tasks.from(t), rows = tasks.size(t);
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
  const Shares tasks = blocksOfRows(M);
  const int64_t deep = parts.depth * parts.count;
  float* left = scratchA.floats(up(M, MR) * deep);
  const auto leftOf = [&](int64_t t, int64_t i) { return left + tasks.from(t) * deep + up(tasks.size(t), MR) * parts[i].k0; };
  parallel(tasks.count, [&](int64_t t) {
    for (int64_t i = 0; i < parts.count; i++) packA(from(a, tasks.from(t), parts[i].k0), tasks.size(t), parts[i].k, leftOf(t, i));
  });
  for (int64_t j0 = 0; j0 < N; j0 += NC) {
    const int64_t n = std::min(NC, N - j0), stride = up(n, NR) * parts.depth;
    float* right = scratchB.floats(stride * parts.count);
    packBlock(b, parts, 0, parts.count, j0, n, right, stride, nullptr);
    parallel(tasks.count, [&](int64_t t) {
      float* c = scratchC.floats(MC * n);
      for (int64_t i = 0; i < parts.count; i++)
        block<MANY_ABREAST>(tasks.size(t), n, parts[i].k, leftOf(t, i), right + stride * i, {c, n, 0, 0, parts[i].add, nullptr});
      visit(tasks.from(t), tasks.size(t), j0, n, c, n);
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
    packPanels(from(b, part.k0, 0), part.k, N, right);
    packA(from(a, 0, part.k0), M, part.k, left);
    block<MANY_ABREAST>(M, N, part.k, left, right, {c, ldc, 0, 0, part.add, part.finishing});
  }
}

}  // namespace minillm
