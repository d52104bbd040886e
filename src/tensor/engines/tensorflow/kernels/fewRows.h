// Products of few rows.
#pragma once
#include "blocking.h"

namespace minillm {

// Rows with which all of A stays near: FEW * KC floats and a panel of B fit the second cache.
constexpr int64_t FEW = 256;

void multiplyFewRows(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc);

}  // namespace minillm
