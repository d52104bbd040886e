// The part of CUDA's language that the kernels use, on a processor: a block's threads are fibres that are switched at barriers and
// shuffles, in an order drawn by a seed, so that a missing barrier shows. Blocks run one after another, which lets shared memory be
// static.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static
#define __align__(n) alignas(n)
#define SHARED(type, name) type* name = reinterpret_cast<type*>(emulator::dynamicShared())

struct dim3 {
  unsigned x, y, z;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace emulator {

dim3& threadIndex();
extern dim3 blockIndex, blockSize, gridSize;
void blockBarrier();
void warpBarrier();
// Where lanes leave what they exchange: 8 bytes each.
unsigned char* slot(unsigned lane);
unsigned laneOf();
void* dynamicShared();

// A kernel that can be launched by name.
using Entry = void (*)(void** arguments);
void add(const char* name, Entry entry);

template <class T>
T exchange(T mine, unsigned from) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  std::memcpy(slot(laneOf()), &mine, sizeof mine);
  warpBarrier();
  T theirs;
  std::memcpy(&theirs, slot(from), sizeof theirs);
  warpBarrier();
  return theirs;
}

template <class... A, size_t... I>
void spread(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
  kernel(*static_cast<A*>(arguments[I])...);
}
template <class... A>
void call(void (*kernel)(A...), void** arguments) {
  spread(kernel, arguments, std::index_sequence_for<A...>());
}

}  // namespace emulator

#define threadIdx (emulator::threadIndex())
#define blockIdx (emulator::blockIndex)
#define blockDim (emulator::blockSize)
#define gridDim (emulator::gridSize)

inline void __syncthreads() { emulator::blockBarrier(); }
inline void __syncwarp(unsigned = 0xffffffffu) { emulator::warpBarrier(); }
template <class T>
T __shfl_xor_sync(unsigned, T x, int mask) {
  return emulator::exchange(x, emulator::laneOf() ^ static_cast<unsigned>(mask));
}
template <class T>
T __shfl_sync(unsigned, T x, int from) {
  return emulator::exchange(x, static_cast<unsigned>(from) & 31u);
}
template <class T>
T __shfl_down_sync(unsigned, T x, unsigned by) {
  const unsigned from = emulator::laneOf() + by;
  return emulator::exchange(x, from < 32 ? from : emulator::laneOf());
}

inline float rsqrtf(float x) { return 1.f / std::sqrt(x); }
inline int __float_as_int(float x) {
  int i;
  std::memcpy(&i, &x, sizeof i);
  return i;
}
inline unsigned __float_as_uint(float x) { return static_cast<unsigned>(__float_as_int(x)); }
inline float __int_as_float(int i) {
  float x;
  std::memcpy(&x, &i, sizeof x);
  return x;
}
inline float __uint_as_float(unsigned i) { return __int_as_float(static_cast<int>(i)); }
template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}
