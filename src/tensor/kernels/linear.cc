// Matrix products with what follows them in the same pass.
#include "gemm.h"
#include "op.h"
#include "pool.h"
#include "vec.h"

namespace minillm {
namespace {

// y = a b, either of them transposed, plus a bias on every row and a matrix, where these are not empty.
struct MatMul {
  static constexpr const char* name = "MinillmMatMul";
  static constexpr const char* inputs[] = {"a: float", "b: float", "bias: float", "residual: float"};
  static constexpr const char* outputs[] = {"y: float"};
  static constexpr const char* attrs[] = {"transpose_a: int", "transpose_b: int"};
  static void run(Call& call) {
    const Tensor a = call.in(0), b = call.in(1), bias = call.in(2), residual = call.in(3);
    const bool ta = call.attrs.ints[0], tb = call.attrs.ints[1];
    const int64_t M = ta ? a.cols() : a.rows(), K = ta ? a.rows() : a.cols(), N = tb ? b.rows() : b.cols();
    if (!call.expect((tb ? b.cols() : b.rows()) == K && (bias.size() == 0 || bias.size() == N) &&
                         (residual.size() == 0 || residual.size() == M * N),
                     "MatMul: the shapes do not fit"))
      return;
    const Tensor y = call.out(0, {M, N});
    const Matrix left = ta ? Matrix{a.floats(), 1, a.cols()} : Matrix{a.floats(), a.cols(), 1};
    const Matrix right = tb ? Matrix{b.floats(), 1, b.cols()} : Matrix{b.floats(), b.cols(), 1};
    Epilogue end;
    if (bias.size() > 0) end.bias = bias.floats();
    if (residual.size() > 0) end.residual = residual.floats();
    if (K == 0) std::fill_n(y.floats(), M * N, 0.f);
    multiply(M, N, K, left, right, y.floats(), N, end);
  }
};

struct ColumnSums {
  static constexpr const char* name = "MinillmColumnSums";
  static constexpr const char* inputs[] = {"x: float"};
  static constexpr const char* outputs[] = {"y: float"};
  static constexpr const char* attrs[] = {""};
  static void run(Call& call) {
    const Tensor x = call.in(0), y = call.out(0, {x.cols()});
    const int64_t rows = x.rows(), width = x.cols(), strip = 64;
    // A strip of columns a task: every column is summed by one thread, from the top.
    parallel((width + strip - 1) / strip, [&](int64_t s) {
      const int64_t from = s * strip, count = std::min(strip, width - from);
      float* to = y.floats() + from;
      std::fill_n(to, count, 0.f);
      for (int64_t r = 0; r < rows; r++) {
        const float* in = x.floats() + r * width + from;
        lanes(count, [&](int64_t i, int n) { storeAt(to + i, loadAt(to + i, n) + loadAt(in + i, n), n); });
      }
    });
  }
};

Register<MatMul> matMul;
Register<ColumnSums> columnSums;

}  // namespace
}  // namespace minillm
