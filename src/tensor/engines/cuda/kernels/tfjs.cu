// TensorFlow.js's own elementwise operations. The codes are those of tfjsElementwise.ts and tfjsBinary.ts.
#include "common.cuh"

static const int THREADS = 256;

__device__ __forceinline__ int64 threadNumber() {
  return int64(blockIdx.x) * THREADS + threadIdx.x;
}

__device__ __forceinline__ float arithmetic(int op, float a, float b) {
  switch (op) {
    case 0: return a + b;
    case 1: return a - b;
    case 2: return a * b;
    case 3: return a / b;
    case 4: return a != a || b != b ? a + b : fmaxf(a, b);
    case 5: return a != a || b != b ? a + b : fminf(a, b);
    default: return powf(a, b);
  }
}

// In unsigned numbers, for they wrap around where signed ones are undefined.
__device__ __forceinline__ int arithmetic(int op, int a, int b) {
  switch (op) {
    case 0: return int(unsigned(a) + unsigned(b));
    case 1: return int(unsigned(a) - unsigned(b));
    case 2: return int(unsigned(a) * unsigned(b));
    case 4: return a > b ? a : b;
    default: return a < b ? a : b;
  }
}

template <class T>
__device__ __forceinline__ bool compared(int op, T a, T b) {
  switch (op) {
    case 0: return a == b;
    case 1: return a != b;
    case 2: return a > b;
    case 3: return a >= b;
    case 4: return a < b;
    case 5: return a <= b;
    default: return a != T(0) && b != T(0);
  }
}

// Operands of the result's own shape; where the pointer is null the operand is one number.
extern "C" __global__ void tfjs_binary_float(int op, const float* a, float aValue, const float* b, float bValue,
                                             float* y, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = arithmetic(op, a ? a[n] : aValue, b ? b[n] : bValue);
}

extern "C" __global__ void tfjs_binary_int(int op, const int* a, int aValue, const int* b, int bValue, int* y,
                                           long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = arithmetic(op, a ? a[n] : aValue, b ? b[n] : bValue);
}

extern "C" __global__ void tfjs_compare_float(int op, const float* a, float aValue, const float* b, float bValue,
                                              unsigned char* y, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = compared(op, a ? a[n] : aValue, b ? b[n] : bValue) ? 1 : 0;
}

extern "C" __global__ void tfjs_compare_int(int op, const int* a, int aValue, const int* b, int bValue,
                                            unsigned char* y, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = compared(op, a ? a[n] : aValue, b ? b[n] : bValue) ? 1 : 0;
}

extern "C" __global__ void tfjs_compare_bool(int op, const unsigned char* a, int aValue, const unsigned char* b,
                                             int bValue, unsigned char* y, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = compared(op, a ? int(a[n]) : aValue, b ? int(b[n]) : bValue) ? 1 : 0;
}

// A broadcast over two dimensions [.., columns], which is what rows and columns as operands come to.
extern "C" __global__ void tfjs_binary_matrix(int op, const float* a, const float* b, float* y, long long size,
                                              int columns, long long aRow, long long aColumn, long long bRow,
                                              long long bColumn) {
  int64 n = threadNumber();
  if (n >= size) return;
  int64 row = n / columns, column = n - row * columns;
  y[n] = arithmetic(op, a[row * aRow + column * aColumn], b[row * bRow + column * bColumn]);
}

__device__ __forceinline__ float applied(int op, float x, float p, float q) {
  switch (op) {
    case 0: return -x;
    case 1: return expf(x);
    case 2: return logf(x);
    case 3: return sqrtf(x);
    case 4: return 1.0f / sqrtf(x);
    case 5: return x * x;
    case 6: return fabsf(x);
    case 7: return 1.0f / (1.0f + expf(-x));
    case 8: return tanhf(x);
    case 9: return erff(x);
    case 10: return x < 0.0f ? 0.0f : x;
    case 11: return x != x ? x : x > 0.0f ? 1.0f : p;
    default: return x < p ? p : x > q ? q : x;
  }
}

__device__ __forceinline__ int applied(int op, int x, int p, int q) {
  switch (op) {
    case 0: return int(0u - unsigned(x));
    case 5: return int(unsigned(x) * unsigned(x));
    case 6: return x < 0 ? int(0u - unsigned(x)) : x;
    case 10: return x < 0 ? 0 : x;
    default: return x < p ? p : x > q ? q : x;
  }
}

extern "C" __global__ void tfjs_unary_float(int op, const float* x, float* y, float p, float q, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = applied(op, x[n], p, q);
}

extern "C" __global__ void tfjs_unary_int(int op, const int* x, int* y, int p, int q, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = applied(op, x[n], p, q);
}

extern "C" __global__ void tfjs_not(const unsigned char* x, unsigned char* y, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = x[n] ? 0 : 1;
}

extern "C" __global__ void tfjs_float_to_int(const float* x, int* y, long long size) {
  int64 n = threadNumber();
  if (n >= size) return;
  // What does not fit is undefined in C++; here the nearest number that does, and 0 for NaN, as the card itself does.
  float v = x[n];
  y[n] = v != v ? 0 : v >= 2147483648.0f ? 2147483647 : v <= -2147483648.0f ? int(-2147483647 - 1) : int(v);
}

extern "C" __global__ void tfjs_float_to_bool(const float* x, unsigned char* y, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = x[n] != 0.0f ? 1 : 0;
}

extern "C" __global__ void tfjs_int_to_float(const int* x, float* y, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = float(x[n]);
}

extern "C" __global__ void tfjs_int_to_bool(const int* x, unsigned char* y, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = x[n] != 0 ? 1 : 0;
}

extern "C" __global__ void tfjs_bool_to_float(const unsigned char* x, float* y, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = x[n] ? 1.0f : 0.0f;
}

extern "C" __global__ void tfjs_bool_to_int(const unsigned char* x, int* y, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = x[n] ? 1 : 0;
}

// Numbers of four bytes whatever they mean, and of one.
extern "C" __global__ void tfjs_fill4(unsigned int* y, int bits, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = unsigned(bits);
}

extern "C" __global__ void tfjs_fill1(unsigned char* y, int value, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = uint8(value);
}

extern "C" __global__ void tfjs_select4(const unsigned char* condition, const unsigned int* t, const unsigned int* e,
                                        unsigned int* y, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = condition[n] ? t[n] : e[n];
}

extern "C" __global__ void tfjs_select1(const unsigned char* condition, const unsigned char* t,
                                        const unsigned char* e, unsigned char* y, long long size) {
  int64 n = threadNumber();
  if (n < size) y[n] = condition[n] ? t[n] : e[n];
}
