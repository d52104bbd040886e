// Rows of a matrix by number, and the gradient: rows with the same number are added up in the order in which they came, after a sort.
#include "common.cuh"

extern "C" __global__ void gather_rows(const float* x, const int* rows, float* y, int count, int width, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= size) return;
  const int row = min(max(rows[i / width], 0), count - 1);
  y[i] = x[(long long)row * width + i % width];
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
