// What happens to all parameters: the norm of the gradient, sums of gradients, AdamW.
#include "common.cuh"

// The sum of squares of `each` numbers a block, into parts[blockIdx.x].
extern "C" __global__ void optimizer_squares(const float* x, double* parts, long long size, int each) {
  const long long from = (long long)blockIdx.x * each, to = min(size, from + each);
  float sum = 0;
  for (long long i = from + threadIdx.x; i < to; i += blockDim.x) sum += x[i] * x[i];
  const double whole = blockSum((double)sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = whole;
}

extern "C" __global__ void optimizer_total(const double* parts, float* y, int count) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += parts[i];
  sum = blockSum(sum);
  if (threadIdx.x == 0) y[0] = (float)sum;
}

extern "C" __global__ void optimizer_add_scaled(const float* total, const float* x, const float* weight, float* y, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < size) y[i] = total[i] + weight[0] * x[i];
}

// p, m and v are overwritten. settings: what the gradient is multiplied by (clipping), step size, beta1, beta2, epsilon.
extern "C" __global__ void optimizer_adamw(float* p, float* m, float* v, const float* g, const float* decay, int which,
                                           const float* settings, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= size) return;
  const float scale = settings[0], rate = settings[1], beta1 = settings[2], beta2 = settings[3], epsilon = settings[4];
  const float gi = g[i] * scale, m1 = m[i] + (gi - m[i]) * (1 - beta1), v1 = v[i] + (gi * gi - v[i]) * (1 - beta2);
  m[i] = m1;
  v[i] = v1;
  p[i] = p[i] * (1 - decay[which]) - rate * m1 / (sqrtf(v1) + epsilon);
}
