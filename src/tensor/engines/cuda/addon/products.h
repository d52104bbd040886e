// Products by cublasLt. An algorithm is chosen once for a shape and kept, with a workspace of fixed size: the same shape gives the
// same bits again.
#pragma once
#include <map>
#include <tuple>

#include "libraries.h"

namespace minillm {

enum class Precision { FLOAT32, TF32, BFLOAT16 };  // in the order of device.ts

struct Product {
  CUdeviceptr a, b, y, bias, residual;
  int64_t rows, columns, inner;
  bool transposeA, transposeB;
  int64_t batch, strideA, strideB, strideY, leadA, leadB, leadY;
  Precision precision;  // of a and b; y, bias, residual and sums are float32
};

class Products {
 public:
  static constexpr size_t WORKSPACE = 64 << 20;

  void start(const Lt& library, CUdeviceptr memory) {
    lt = library;
    workspace = memory;
    check(lt.create(&handle), "cublasLtCreate");
  }

  void run(const Product& p, CUstream stream) {
    Plan& plan = planOf(p);
    const float one = 1, zero = 0, *beta = p.residual ? &one : &zero;
    if (p.bias)
      check(lt.descSet(plan.desc, DESC_BIAS_POINTER, &p.bias, sizeof p.bias), "the address of a bias");
    const void* c = reinterpret_cast<const void*>(p.residual ? p.residual : p.y);
    // cublasLt's matrices are by columns: the transposed product of transposed matrices is ours by rows.
    const cublasStatus status =
        lt.matmul(handle, plan.desc, &one, reinterpret_cast<const void*>(p.b), plan.b, reinterpret_cast<const void*>(p.a), plan.a,
                  beta, c, p.residual ? plan.c : plan.y, reinterpret_cast<void*>(p.y), plan.y, &plan.algorithm,
                  reinterpret_cast<void*>(workspace), WORKSPACE, stream);
    check(status, "cublasLtMatmul of " + shapeOf(p));
  }

 private:
  struct Plan {
    LtDesc desc;
    LtLayout a, b, c, y;
    LtAlgorithm algorithm;
  };
  using Key = std::tuple<int64_t, int64_t, int64_t, int, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;

  // How far an address is aligned decides which algorithms there are, so it is a part of the shape.
  static int alignment(const Product& p) {
    const CUdeviceptr all = p.a | p.b | p.y | p.bias | p.residual;
    return all % 16 == 0 ? 16 : all % 8 == 0 ? 8 : 4;
  }

  Plan& planOf(const Product& p) {
    const int flags = (p.transposeA ? 1 : 0) | (p.transposeB ? 2 : 0) | (p.bias ? 4 : 0) | (p.residual ? 8 : 0) |
                      (p.residual == p.y && p.residual ? 16 : 0) | alignment(p) << 8 | static_cast<int>(p.precision) << 16;
    const Key key(p.rows, p.columns, p.inner, flags, p.batch, p.strideA, p.strideB, p.strideY, p.leadA, p.leadB, p.leadY);
    const auto found = plans.find(key);
    if (found != plans.end()) return found->second;
    Plan plan;
    check(lt.desc(&plan.desc, p.precision == Precision::TF32 ? COMPUTE_32F_FAST_TF32 : COMPUTE_32F, REAL_32F), "a description");
    const int32_t yes = OPERATION_T, no = OPERATION_N;
    set(plan.desc, DESC_TRANSA, p.transposeB ? yes : no);
    set(plan.desc, DESC_TRANSB, p.transposeA ? yes : no);
    if (p.bias) {
      set(plan.desc, DESC_EPILOGUE, EPILOGUE_BIAS);
      set(plan.desc, DESC_BIAS_POINTER, p.bias);
    }
    const int factors = p.precision == Precision::BFLOAT16 ? REAL_16BF : REAL_32F;
    layout(&plan.b, factors, p.transposeB ? p.inner : p.columns, p.transposeB ? p.columns : p.inner, p.leadB, p.batch, p.strideB);
    layout(&plan.a, factors, p.transposeA ? p.rows : p.inner, p.transposeA ? p.inner : p.rows, p.leadA, p.batch, p.strideA);
    layout(&plan.y, REAL_32F, p.columns, p.rows, p.leadY, p.batch, p.strideY);
    layout(&plan.c, REAL_32F, p.columns, p.rows, p.residual == p.y ? p.leadY : p.columns, p.batch, p.strideY);
    LtPreference preference;
    check(lt.preference(&preference), "a preference");
    const size_t most = WORKSPACE;
    check(lt.preferenceSet(preference, PREFERENCE_MAX_WORKSPACE_BYTES, &most, sizeof most), "the workspace");
    const uint32_t aligned = alignment(p);
    for (int i = 0; i < 4; i++)
      check(lt.preferenceSet(preference, PREFERENCE_MIN_ALIGNMENT_A_BYTES + i, &aligned, sizeof aligned), "the alignment");
    LtHeuristic result;
    int count = 0;
    const cublasStatus status = lt.heuristic(handle, plan.desc, plan.b, plan.a, p.residual ? plan.c : plan.y, plan.y,
                                               preference, 1, &result, &count);
    lt.preferenceDestroy(preference);
    if (status != 0 || count == 0)
      throw std::runtime_error("cublasLt has no algorithm for " + shapeOf(p) + " (status " + std::to_string(status) + ")");
    plan.algorithm = result.algorithm;
    return plans.emplace(key, plan).first->second;
  }

  template <class T>
  void set(LtDesc desc, int name, T value) {
    check(lt.descSet(desc, name, &value, sizeof value), "an attribute");
  }
  void layout(LtLayout* to, int type, int64_t rows, int64_t columns, int64_t lead, int64_t batch, int64_t stride) {
    check(lt.layout(to, type, rows, columns, lead), "a layout");
    if (batch == 1) return;
    const int32_t count = static_cast<int32_t>(batch);
    check(lt.layoutSet(*to, LAYOUT_BATCH_COUNT, &count, sizeof count), "a batch");
    check(lt.layoutSet(*to, LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride), "a stride");
  }
  static std::string shapeOf(const Product& p) {
    return "[" + std::to_string(p.rows) + ", " + std::to_string(p.inner) + "] x [" + std::to_string(p.inner) + ", " +
           std::to_string(p.columns) + "], batch " + std::to_string(p.batch);
  }
  static void check(cublasStatus status, const std::string& what) {
    if (status != 0) throw std::runtime_error(what + ": cublas status " + std::to_string(status));
  }

  Lt lt;
  LtHandle handle = nullptr;
  CUdeviceptr workspace = 0;
  std::map<Key, Plan> plans;
};

}  // namespace minillm
