// Products of few rows by the transpose of a matrix that is read as it lies, as a tied head is.
#pragma once
#include <cstring>

#include "blocking.h"

namespace minillm {

// Whether B is such a matrix. Numbers of float16 take too long to widen one by one.
inline bool readsAcross(const Parts& parts, Matrix b) {
  return b.rowStride == 1 && b.kind != Kind::FLOAT16 && parts.K > 0 && !parts.end.columnSums;
}

// Whether as many rows nearly fill the lanes of registers, which is how the first multiplies them; the second takes the fewest.
bool fitsLanes(int64_t M, const Parts& parts, Matrix b);
bool fitsSquares(int64_t M, const Parts& parts, Matrix b);

void multiplyByLanes(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc);
void multiplyBySquares(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc);

// The last lines of a matrix, filled up by lines of 0: what is beyond is not to be read.
template <class Element>
const Element* padded(const Element* lines, int64_t stride, int count, int total, int64_t K, Scratch& scratch) {
  auto* to = reinterpret_cast<Element*>(scratch.floats(total * K));
  std::memset(static_cast<void*>(to), 0, total * K * sizeof(Element));
  for (int l = 0; l < count; l++) std::memcpy(to + l * K, lines + l * stride, K * sizeof(Element));
  return to;
}

}  // namespace minillm
