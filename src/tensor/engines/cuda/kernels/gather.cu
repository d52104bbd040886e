// Rows of a matrix by number, and the gradient: rows with the same number are added up in the order in which they came, after a sort.
#include "common.cuh"

extern "C" __global__ void gather_rows(const float* x, const int* rows, float* y, int count, int width, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= size) return;
  const int row = min(max(rows[i / width], 0), count - 1);
  y[i] = x[(long long)row * width + i % width];
}

// Number i of a matrix that is of `kind`: 0 float32, 1 bfloat16, 2 float16 without infinities; exactly.
__device__ __forceinline__ float numberOf(const void* x, int kind, long long i) {
  if (kind == 0) return static_cast<const float*>(x)[i];
  const uint32 half = static_cast<const unsigned short*>(x)[i], magnitude = half & 0x7fff;
  union { uint32 bits; float number; } of;
  if (kind == 1) of.bits = half << 16;
  // Below 2^-14 a float16 is a multiple of 2^-24; above, the exponent's bias and the place of the fraction differ.
  else if (magnitude < 0x400) of.number = (half & 0x8000 ? -1.f : 1.f) * (float)magnitude * 5.9604644775390625e-8f;
  else of.bits = (half & 0x8000) << 16 | ((magnitude << 13) + 0x38000000);
  return of.number;
}

// y, rows of `width` numbers, from rows `stride` apart.
extern "C" __global__ void gather_widen(const void* x, float* y, int width, int stride, int kind, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < size) y[i] = numberOf(x, kind, i / width * stride + i % width);
}

// gather_rows from such a matrix; with `add` added to what y holds.
extern "C" __global__ void gather_rows_widened(const void* x, const int* rows, float* y, int count, int width, int stride, int kind,
                                               int add, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= size) return;
  const int row = min(max(rows[i / width], 0), count - 1);
  const float number = numberOf(x, kind, (long long)row * stride + i % width);
  y[i] = add ? y[i] + number : number;
}

// Sorts up to `capacity` (a power of two) keys in one block: number of the row, then place. keys [capacity].
extern "C" __global__ void gather_sort(const int* rows, unsigned long long* keys, int from, int used, int capacity) {
  SHARED(unsigned long long, key);
  for (int i = threadIdx.x; i < capacity; i += blockDim.x)
    key[i] = i < used ? ((unsigned long long)(unsigned)rows[from + i] << 32 | (unsigned)(from + i)) : ~0ull;
  __syncthreads();
  for (int size = 2; size <= capacity; size *= 2)
    for (int step = size / 2; step > 0; step /= 2) {
      for (int i = threadIdx.x; i < capacity; i += blockDim.x) {
        const int other = i ^ step;
        if (other > i) {
          const unsigned long long a = key[i], b = key[other];
          if ((a > b) == ((i & size) == 0)) {
            key[i] = b;
            key[other] = a;
          }
        }
      }
      __syncthreads();
    }
  for (int i = threadIdx.x; i < capacity; i += blockDim.x) keys[i] = key[i];
}

// A block for each sorted key that begins a run of equal rows: it adds the run to dx. blockIdx.y is a strip of columns.
extern "C" __global__ void gather_sum(const float* dy, const unsigned long long* keys, float* dx, int used, int count, int width) {
  const int first = blockIdx.x;
  const unsigned row = (unsigned)(keys[first] >> 32);
  if (row >= (unsigned)count || (first > 0 && (unsigned)(keys[first - 1] >> 32) == row)) return;
  const int column = blockIdx.y * blockDim.x + threadIdx.x;
  if (column >= width) return;
  float sum = dx[(long long)row * width + column];
#pragma unroll 4
  for (int i = first; i < used && (unsigned)(keys[i] >> 32) == row; i++)
    sum += dy[(long long)(unsigned)keys[i] * width + column];
  dx[(long long)row * width + column] = sum;
}
