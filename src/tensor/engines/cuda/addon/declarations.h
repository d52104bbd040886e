// What we use of the driver's and cublasLt's interfaces. Declared here, so that a machine with a driver and PyTorch's libraries needs no
// CUDA headers to build the addon; these numbers are part of the libraries' binary interface and have not changed since CUDA 11.
#pragma once
#include <cstddef>
#include <cstdint>

namespace minillm {

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct CUctx*;
using CUmodule = struct CUmod*;
using CUfunction = struct CUfunc*;
using CUstream = struct CUstr*;

constexpr CUresult CUDA_SUCCESS = 0, CUDA_ERROR_OUT_OF_MEMORY = 2, CUDA_ERROR_NO_DEVICE = 100;
constexpr int MULTIPROCESSOR_COUNT = 16, COMPUTE_CAPABILITY_MAJOR = 75, COMPUTE_CAPABILITY_MINOR = 76;
constexpr int MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;  // an attribute of a function
constexpr unsigned STREAM_NON_BLOCKING = 1;

using cublasStatus = int;
using LtHandle = struct LtContext*;
using LtDesc = struct LtMatmulDesc*;
using LtLayout = struct LtMatrixLayout*;
using LtPreference = struct LtMatmulPreference*;
struct LtAlgorithm {
  uint64_t data[8];
};
struct LtHeuristic {
  LtAlgorithm algorithm;
  size_t workspace;
  cublasStatus state;
  float waves;
  int reserved[4];
};

constexpr int COMPUTE_32F = 68, COMPUTE_32F_FAST_TF32 = 77, REAL_32F = 0, REAL_16BF = 14;
constexpr int32_t OPERATION_N = 0, OPERATION_T = 1;
constexpr int DESC_TRANSA = 3, DESC_TRANSB = 4, DESC_EPILOGUE = 7, DESC_BIAS_POINTER = 8;
constexpr int32_t EPILOGUE_BIAS = 4;
constexpr int LAYOUT_BATCH_COUNT = 5, LAYOUT_STRIDED_BATCH_OFFSET = 6;
constexpr int PREFERENCE_MAX_WORKSPACE_BYTES = 1, PREFERENCE_MIN_ALIGNMENT_A_BYTES = 5;  // then B, C, D

}  // namespace minillm
