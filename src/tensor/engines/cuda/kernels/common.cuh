// What every kernel file may use besides CUDA's own language. Three compilers read it: NVRTC on the machine with the card (no
// system header there), nvcc in the tests, and g++ with the emulator's header, which runs the same kernels on the processor.
#pragma once

#ifdef MINILLM_EMULATED
#include "emulator.h"
#else

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#ifndef NAN
#define NAN __int_as_float(0x7fffffff)
#endif

// Dynamic shared memory, its size given at the launch: SHARED(float, scores) declares a pointer to it. One a kernel.
#define SHARED(type, name)                                         \
  extern __shared__ __align__(16) unsigned char minillmShared[];   \
  type* name = reinterpret_cast<type*>(minillmShared)

#endif

typedef unsigned char uint8;
typedef unsigned int uint32;
typedef long long int64;
typedef unsigned long long uint64;

static const int WARP = 32;
static const unsigned ALL_LANES = 0xffffffffu;

// Sum, maximum, minimum over the 32 lanes of a warp; every lane gets the same bits, for a + b is b + a. All lanes take part.
template <class T>
__device__ __forceinline__ T warpSum(T x) {
  for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
  return x;
}

template <class T>
__device__ __forceinline__ T warpMax(T x) {
  for (int step = WARP / 2; step > 0; step /= 2) {
    T other = __shfl_xor_sync(ALL_LANES, x, step);
    x = other > x ? other : x;
  }
  return x;
}

template <class T>
__device__ __forceinline__ T warpMin(T x) {
  for (int step = WARP / 2; step > 0; step /= 2) {
    T other = __shfl_xor_sync(ALL_LANES, x, step);
    x = other < x ? other : x;
  }
  return x;
}

// Sum over a block of one dimension whose width is a multiple of 32 (at most 1024): the warps' sums are added in their order, by
// every thread alike. All threads take part and all get the result; it may be called again and again.
template <class T>
__device__ __forceinline__ T blockSum(T x) {
  __shared__ T parts[WARP];
  x = warpSum(x);
  __syncthreads();  // an earlier call's parts have been read by now
  if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
  __syncthreads();
  T sum = parts[0];
  for (int warp = 1; warp < int(blockDim.x) / WARP; warp++) sum += parts[warp];
  return sum;
}

// Likewise the maximum. NaN is passed over.
template <class T>
__device__ __forceinline__ T blockMax(T x) {
  __shared__ T parts[WARP];
  x = warpMax(x);
  __syncthreads();
  if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
  __syncthreads();
  T most = parts[0];
  for (int warp = 1; warp < int(blockDim.x) / WARP; warp++) most = parts[warp] > most ? parts[warp] : most;
  return most;
}
