// Matrix products with what follows them in the same pass.
#include "gemm.h"
#include "op.h"
#include "pool.h"
#include "rows.h"
#include "vec.h"
#include "weights.h"

namespace minillm {
namespace {

Matrix plain(const Tensor& x) { return {x.floats(), x.cols(), 1}; }
Matrix transposed(const Tensor& x) { return {x.floats(), 1, x.cols()}; }

// y = a b, either of them transposed, plus a bias on every row and a matrix, where there are any: else these inputs are not read.
struct MatMul {
  static constexpr const char* name = "MinillmMatMul";
  static constexpr const char* inputs[] = {"a: float", "b: T", "bias: float", "residual: float"};
  static constexpr const char* outputs[] = {"y: float"};
  static constexpr const char* attrs[] = {"transpose_a: int", "transpose_b: int", "has_bias: int", "has_residual: int", "halves: int", "columns: int",
                                          "T: {float, int32}"};
  static void run(Call& call) {
    const Tensor a = call.in(0), bias = call.in(2), residual = call.in(3);
    const bool ta = call.attrs.ints[0], tb = call.attrs.ints[1];
    const bool hasBias = call.attrs.ints[2], hasResidual = call.attrs.ints[3];
    const Weights b(call.in(1), call.attrs.ints[4], call.attrs.ints[5]);
    const int64_t M = ta ? a.cols() : a.rows(), K = ta ? a.rows() : a.cols(), N = tb ? b.rows() : b.cols();
    if (!call.expect((tb ? b.cols() : b.rows()) == K && b.fit() && (!hasBias || bias.size() == N) &&
                         (!hasResidual || residual.size() == M * N),
                     "MatMul: the shapes do not fit"))
      return;
    const Tensor y = call.out(0, {M, N});
    Epilogue end;
    if (hasBias) end.bias = bias.floats();
    if (hasResidual) end.residual = residual.floats();
    if (K == 0) std::fill_n(y.floats(), M * N, 0.f);
    multiply(M, N, K, ta ? transposed(a) : plain(a), tb ? b.transposed() : b.plain(), y.floats(), N, end);
  }
};

// y = gelu(x w + bias), and the slope of the GELU there: the backward pass needs it, and here its exponential is at hand. Without
// `with_slope` it is empty.
struct LinearGelu {
  static constexpr const char* name = "MinillmLinearGelu";
  static constexpr const char* inputs[] = {"x: float", "w: T", "bias: float"};
  static constexpr const char* outputs[] = {"y: float", "slope: float"};
  static constexpr const char* attrs[] = {"with_slope: int", "halves: int", "columns: int", "T: {float, int32}"};
  static void run(Call& call) {
    const Tensor x = call.in(0), bias = call.in(2);
    const Weights w(call.in(1), call.attrs.ints[1], call.attrs.ints[2]);
    const int64_t M = x.rows(), K = x.cols(), N = w.cols();
    if (!call.expect(w.rows() == K && w.fit() && bias.size() == N && K > 0, "LinearGelu: the shapes do not fit")) return;
    const bool wanted = call.attrs.ints[0];
    const Tensor y = call.out(0, {M, N}), slope = call.out(1, {wanted ? M : 0, N});
    Epilogue end;
    end.bias = bias.floats();
    end.gelu = true;
    if (wanted) end.slope = slope.floats();
    multiply(M, N, K, plain(x), w.plain(), y.floats(), N, end);
  }
};

// du = (dy wT) slope: the gradient of gelu(u) w for u.
struct GeluLinearGrad {
  static constexpr const char* name = "MinillmGeluLinearGrad";
  static constexpr const char* inputs[] = {"dy: float", "w: T", "slope: float"};
  static constexpr const char* outputs[] = {"du: float"};
  static constexpr const char* attrs[] = {"halves: int", "columns: int", "T: {float, int32}"};
  static void run(Call& call) {
    const Tensor dy = call.in(0), slope = call.in(2);
    const Weights w(call.in(1), call.attrs.ints[0], call.attrs.ints[1]);
    const int64_t M = dy.rows(), K = dy.cols(), N = w.rows();
    if (!call.expect(w.cols() == K && w.fit() && slope.size() == M * N && K > 0, "GeluLinearGrad: the shapes do not fit")) return;
    const Tensor du = call.out(0, {M, N});
    Epilogue end;
    end.factor = slope.floats();
    multiply(M, N, K, plain(dy), w.transposed(), du.floats(), N, end);
  }
};

// The gradients of x w + bias for w and bias: dw = xT dy, and the sums of the columns of dy.
struct WeightGrads {
  static constexpr const char* name = "MinillmWeightGrads";
  static constexpr const char* inputs[] = {"x: float", "dy: float"};
  static constexpr const char* outputs[] = {"dw: float", "dbias: float"};
  static constexpr const char* attrs[] = {""};
  static void run(Call& call) {
    const Tensor x = call.in(0), dy = call.in(1);
    const int64_t M = x.cols(), K = x.rows(), N = dy.cols();
    if (!call.expect(dy.rows() == K, "WeightGrads: the shapes do not fit")) return;
    const Tensor dw = call.out(0, {M, N}), dbias = call.out(1, {N});
    Epilogue end;
    end.columnSums = dbias.floats();
    if (K == 0) std::fill_n(dw.floats(), M * N, 0.f);
    multiply(M, N, K, transposed(x), plain(dy), dw.floats(), N, end);
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
        addRow(x.floats() + r * width + from, count, to);
      }
    });
  }
};

Register<MatMul> matMul;
Register<LinearGelu> linearGelu;
Register<GeluLinearGrad> geluLinearGrad;
Register<WeightGrads> weightGrads;
Register<ColumnSums> columnSums;

}  // namespace
}  // namespace minillm
