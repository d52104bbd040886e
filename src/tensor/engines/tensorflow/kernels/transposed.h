// Products of few rows by the transpose of a matrix that lies as it is, as a tied head does.
#pragma once
#include "blocking.h"

namespace minillm {

// Whether these are such a product, and rows enough to fill registers.
bool fitsTransposed(int64_t M, const Parts& parts, Matrix a, Matrix b);

void multiplyTransposed(int64_t M, int64_t N, const Parts& parts, Matrix a, Matrix b, float* c, int64_t ldc);

}  // namespace minillm
