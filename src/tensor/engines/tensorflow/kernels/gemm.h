// Matrix products in float32, row-major. What is multiplied by may be kept in 16 bits: it is widened on its way, exactly.
#pragma once
#include <cstdint>
#include <functional>

namespace minillm {

// What the elements of a matrix are.
enum class Kind { FLOAT, BFLOAT16, FLOAT16 };

// A matrix as it lies in memory: element (i, j) is number i * rowStride + j * colStride. One of the strides is 1. Only on the
// right of a product may it be other than FLOAT.
struct Matrix {
  const void* data;
  int64_t rowStride, colStride;
  Kind kind = Kind::FLOAT;
  const float* floats() const { return static_cast<const float*>(data); }
};

// What happens beside the product. The matrices [M, N] have the row stride of C.
struct Epilogue {
  const float* bias = nullptr;      // [N], added to every row
  const float* residual = nullptr;  // [M, N], added
  bool accumulate = false;          // added to what C holds
  bool gelu = false;                // C receives the GELU of the sum so far
  float* slope = nullptr;           // [M, N]: the same, and this receives the GELU's slope
  const float* gate = nullptr;      // [M, N]: C receives the sum so far times silu(gate)
  const float* factor = nullptr;    // [M, N]: C receives the sum so far times this
  float* columnSums = nullptr;      // [N]: receives the sums of the columns of B, which pass by anyway
  // Whether anything happens to the numbers of C.
  bool any() const { return bias || residual || gelu || slope || gate || factor; }
};

// C[M, N] = A[M, K] B[K, N], C with rows of stride ldc; on all threads, the same bits for any number of them.
void multiply(int64_t M, int64_t N, int64_t K, Matrix a, Matrix b, float* c, int64_t ldc, const Epilogue& end = {});

// The same on the calling thread only, for products inside a parallel task. `work` grows as needed and is kept by the task.
class Scratch;
void multiplySerial(int64_t M, int64_t N, int64_t K, Matrix a, Matrix b, float* c, int64_t ldc, Scratch& work,
                    const Epilogue& end = {});

// A B for who needs every number once: it is in no one's memory. visit(row, rows, column, columns, block, stride) sees it in
// blocks that are in a cache; those of the same rows one after another, from the first column to the last.
using Visit = std::function<void(int64_t row, int64_t rows, int64_t column, int64_t columns, const float* block, int64_t stride)>;
void multiplyInBlocks(int64_t M, int64_t N, int64_t K, Matrix a, Matrix b, const Visit& visit);

// Memory aligned to cache lines that only grows.
class Scratch {
 public:
  ~Scratch();
  float* floats(int64_t count);

 private:
  float* data = nullptr;
  int64_t size = 0;
};

}  // namespace minillm
