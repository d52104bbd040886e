// Activations and rotary positions: a thread a number.
#include "common.cuh"

__device__ __forceinline__ float sigmoidOf(float x) { return 1 / (1 + expf(-x)); }

// 2 sqrt(2/pi): 0.5 (1 + tanh(u)) = sigmoid(2u)
static const float GELU_A = 1.5957691216057308f, GELU_B = 1.5957691216057308f * 0.044715f;

__device__ __forceinline__ float geluSlope(float x) {
  const float s = sigmoidOf(x * (GELU_A + GELU_B * x * x));
  return s + x * s * (1 - s) * (GELU_A + 3 * GELU_B * x * x);
}

extern "C" __global__ void elementwise_gelu(const float* x, float* y, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < size) y[i] = x[i] * sigmoidOf(x[i] * (GELU_A + GELU_B * x[i] * x[i]));
}

// y = gelu(u) and, where slope is not 0, the slope there; y may be u itself.
extern "C" __global__ void elementwise_gelu_slope(const float* u, float* y, float* slope, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= size) return;
  const float x = u[i], s = sigmoidOf(x * (GELU_A + GELU_B * x * x));
  y[i] = x * s;
  if (slope) slope[i] = s + x * s * (1 - s) * (GELU_A + 3 * GELU_B * x * x);
}

extern "C" __global__ void elementwise_gelu_backward(const float* dy, const float* x, float* dx, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < size) dx[i] = dy[i] * geluSlope(x[i]);
}

// To the nearest bfloat16, ties to even; NaN stays NaN.
__device__ __forceinline__ unsigned short toBfloat16(float x) {
  union { float number; uint32 bits; } of = {x};
  if (x != x) return 0x7fc0;
  return (unsigned short)((of.bits + 0x7fff + (of.bits >> 16 & 1)) >> 16);
}

struct __align__(16) Floats { float at[4]; };
struct __align__(8) Halves { unsigned short at[4]; };

// Four numbers a thread, in one piece where x is aligned to 16 bytes.
extern "C" __global__ void elementwise_to_bfloat16(const float* x, unsigned short* y, long long size) {
  const long long i = 4 * ((long long)blockIdx.x * blockDim.x + threadIdx.x);
  if (i + 4 <= size && (unsigned long long)x % 16 == 0) {
    const Floats in = *reinterpret_cast<const Floats*>(x + i);
    Halves out;
    for (int k = 0; k < 4; k++) out.at[k] = toBfloat16(in.at[k]);
    *reinterpret_cast<Halves*>(y + i) = out;
    return;
  }
  for (long long k = i; k < size && k < i + 4; k++) y[k] = toBfloat16(x[k]);
}

extern "C" __global__ void elementwise_multiply(const float* a, const float* b, float* y, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < size) y[i] = a[i] * b[i];
}

extern "C" __global__ void elementwise_scale(const float* x, const float* factor, float* y, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < size) y[i] = factor[0] * x[i];
}

extern "C" __global__ void elementwise_swiglu(const float* gate, const float* up, float* y, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < size) y[i] = gate[i] * sigmoidOf(gate[i]) * up[i];
}

extern "C" __global__ void elementwise_swiglu_backward(const float* dy, const float* gate, const float* up, float* dgate,
                                                       float* dup, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= size) return;
  const float g = gate[i], s = sigmoidOf(g);
  dgate[i] = dy[i] * up[i] * s * (1 + g * (1 - s));
  dup[i] = dy[i] * g * s;
}

// A thread a pair: x[i] and x[i + half] of a head are turned by the row's angle i.
extern "C" __global__ void elementwise_rotary(const float* x, const float* cosines, const float* sines, float* y, int heads,
                                              int half, float sign, long long pairs) {
  const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= pairs) return;
  const long long head = at / half, row = head / heads;
  const int i = at % half;
  const float c = cosines[row * half + i], s = sines[row * half + i] * sign;
  const float* in = x + head * 2 * half;
  const float a = in[i], b = in[half + i];
  y[head * 2 * half + i] = a * c - b * s;
  y[head * 2 * half + half + i] = b * c + a * s;
}
