// TensorFlow.js's own reductions. Sums are taken in float64 and in an order that depends on the shape alone.
#include "common.cuh"

static const int THREADS = 256;

// 0 sum, 1 maximum, 2 minimum; a NaN stays one.
__device__ __forceinline__ double combine(int op, double a, double b) {
  if (op == 0) return a + b;
  if (b != b) return b;
  return (op == 1 ? b > a : b < a) ? b : a;
}

__device__ __forceinline__ double neutral(int op) {
  return op == 0 ? 0.0 : op == 1 ? double(-INFINITY) : double(INFINITY);
}

// Chunk c of the sequence along the middle of [outer, length, inner], one thread a result: y is [outer, chunks, inner].
template <class T>
__device__ __forceinline__ void reduceSerial(int op, const T* x, double* y, int64 outer, int64 length, int64 inner,
                                             int64 chunks) {
  int64 n = int64(blockIdx.x) * THREADS + threadIdx.x;
  if (n >= outer * chunks * inner) return;
  int64 i = n % inner, c = n / inner % chunks, o = n / inner / chunks;
  int64 width = (length + chunks - 1) / chunks;
  int64 end = (c + 1) * width < length ? (c + 1) * width : length;
  double result = neutral(op);
  for (int64 r = c * width; r < end; r++) result = combine(op, result, double(x[(o * length + r) * inner + i]));
  y[n] = result;
}

// The same along the last dimension, one block a chunk: x is [outer, length], y [outer, chunks].
template <class T>
__device__ __forceinline__ void reduceRows(int op, const T* x, double* y, int64 length, int64 chunks) {
  __shared__ double parts[THREADS];
  int64 o = blockIdx.x / chunks, c = blockIdx.x % chunks;
  int64 width = (length + chunks - 1) / chunks;
  int64 end = (c + 1) * width < length ? (c + 1) * width : length;
  double result = neutral(op);
  const T* row = x + o * length;
  for (int64 r = c * width + threadIdx.x; r < end; r += THREADS) result = combine(op, result, double(row[r]));
  parts[threadIdx.x] = result;
  for (int half = THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) parts[threadIdx.x] = combine(op, parts[threadIdx.x], parts[threadIdx.x + half]);
  }
  if (threadIdx.x == 0) y[blockIdx.x] = parts[0];
}

extern "C" __global__ void tfjs_reduce_serial_float(int op, const float* x, double* y, long long outer,
                                                    long long length, long long inner, long long chunks) {
  reduceSerial(op, x, y, outer, length, inner, chunks);
}

extern "C" __global__ void tfjs_reduce_serial_int(int op, const int* x, double* y, long long outer, long long length,
                                                  long long inner, long long chunks) {
  reduceSerial(op, x, y, outer, length, inner, chunks);
}

extern "C" __global__ void tfjs_reduce_rows_float(int op, const float* x, double* y, long long length,
                                                  long long chunks) {
  reduceRows(op, x, y, length, chunks);
}

extern "C" __global__ void tfjs_reduce_rows_int(int op, const int* x, double* y, long long length, long long chunks) {
  reduceRows(op, x, y, length, chunks);
}

// The chunks of each result together, in their order, times a factor: that of a mean.
__device__ __forceinline__ double finished(int op, const double* x, int64 n, int64 chunks, int64 inner) {
  double result = neutral(op);
  int64 i = n % inner, o = n / inner;
  for (int64 c = 0; c < chunks; c++) result = combine(op, result, x[(o * chunks + c) * inner + i]);
  return result;
}

extern "C" __global__ void tfjs_reduce_finish_float(int op, const double* x, float* y, long long size,
                                                    long long chunks, long long inner, long long divisor) {
  int64 n = int64(blockIdx.x) * THREADS + threadIdx.x;
  if (n < size) y[n] = float(finished(op, x, n, chunks, inner) / double(divisor));
}

extern "C" __global__ void tfjs_reduce_finish_int(int op, const double* x, int* y, long long size, long long chunks,
                                                  long long inner) {
  int64 n = int64(blockIdx.x) * THREADS + threadIdx.x;
  // A sum past int32 wraps around, as it does elsewhere.
  if (n < size) y[n] = int(int64(finished(op, x, n, chunks, inner)));
}

// The first place of the greatest of each row, one block a row.
template <class T>
__device__ __forceinline__ void argMaxOfRow(const T* x, int* y, int64 length) {
  __shared__ T values[THREADS];
  __shared__ int places[THREADS];
  const T* row = x + blockIdx.x * length;
  int place = -1;
  T most = T(0);
  for (int64 r = threadIdx.x; r < length; r += THREADS) {
    T value = row[r];
    if (value == value && (place < 0 || value > most)) {
      most = value;
      place = int(r);
    }
  }
  values[threadIdx.x] = most;
  places[threadIdx.x] = place;
  for (int half = THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) {
      T other = values[threadIdx.x + half], own = values[threadIdx.x];
      int otherPlace = places[threadIdx.x + half], ownPlace = places[threadIdx.x];
      if (otherPlace >= 0 && (ownPlace < 0 || other > own || (other == own && otherPlace < ownPlace))) {
        values[threadIdx.x] = other;
        places[threadIdx.x] = otherPlace;
      }
    }
  }
  if (threadIdx.x == 0) y[blockIdx.x] = places[0] < 0 ? 0 : places[0];
}

extern "C" __global__ void tfjs_argmax_float(const float* x, int* y, long long length) { argMaxOfRow(x, y, length); }

extern "C" __global__ void tfjs_argmax_int(const int* x, int* y, long long length) { argMaxOfRow(x, y, length); }

// The softmax of each row, one block a row.
extern "C" __global__ void tfjs_softmax(const float* x, float* y, long long length) {
  const float* row = x + blockIdx.x * length;
  float* result = y + blockIdx.x * length;
  float most = -INFINITY;
  for (int64 r = threadIdx.x; r < length; r += THREADS) most = fmaxf(most, row[r]);
  most = blockMax(most);
  double sum = 0.0;
  for (int64 r = threadIdx.x; r < length; r += THREADS) sum += double(expf(row[r] - most));
  sum = blockSum(sum);
  float scale = float(sum);
  for (int64 r = threadIdx.x; r < length; r += THREADS) result[r] = expf(row[r] - most) / scale;
}
