// Layer and root-mean-square normalisation: a block a row. Kept for the backward pass are the statistics of a row; the normalised
// row is made again from x. The gradients of gain and bias are sums over rows: first within chunks of rows, then over the chunks in
// their order, so that they have the same bits every time.
#include "common.cuh"

extern "C" __global__ void norms_layer_forward(const float* x, const float* gain, const float* bias, float* y, float* stats,
                                               int width, float eps) {
  const long long row = blockIdx.x;
  const float* in = x + row * width;
  float sum = 0;
  for (int i = threadIdx.x; i < width; i += blockDim.x) sum += in[i];
  const float mean = blockSum(sum) / width;
  float squares = 0;
  for (int i = threadIdx.x; i < width; i += blockDim.x) squares += (in[i] - mean) * (in[i] - mean);
  const float inverse = 1 / sqrtf(blockSum(squares) / width + eps);
  for (int i = threadIdx.x; i < width; i += blockDim.x)
    y[row * width + i] = (in[i] - mean) * inverse * gain[i] + bias[i];
  if (threadIdx.x == 0) {
    stats[2 * row] = mean;
    stats[2 * row + 1] = inverse;
  }
}

extern "C" __global__ void norms_rms_forward(const float* x, const float* gain, float* y, float* stats, int width, float eps) {
  const long long row = blockIdx.x;
  const float* in = x + row * width;
  float squares = 0;
  for (int i = threadIdx.x; i < width; i += blockDim.x) squares += in[i] * in[i];
  const float inverse = 1 / sqrtf(blockSum(squares) / width + eps);
  for (int i = threadIdx.x; i < width; i += blockDim.x) y[row * width + i] = in[i] * inverse * gain[i];
  if (threadIdx.x == 0) stats[row] = inverse;
}

// dx of either norm; `centred` says that there was a mean. residual may be 0: nothing is added.
extern "C" __global__ void norms_backward(const float* dy, const float* x, const float* gain, const float* stats,
                                          const float* residual, float* dx, int width, int centred) {
  const long long row = blockIdx.x;
  const float *d = dy + row * width, *in = x + row * width;
  const float mean = centred ? stats[2 * row] : 0, inverse = centred ? stats[2 * row + 1] : stats[row];
  float plain = 0, along = 0;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const float scaled = d[i] * gain[i];
    plain += scaled;
    along += scaled * (in[i] - mean) * inverse;
  }
  const float meanPlain = centred ? blockSum(plain) / width : 0, meanAlong = blockSum(along) / width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const float normal = (in[i] - mean) * inverse;
    const float own = (d[i] * gain[i] - meanPlain - normal * meanAlong) * inverse;
    dx[row * width + i] = residual ? own + residual[row * width + i] : own;
  }
}

// Sums over a chunk of rows: of dy times the normalised row, and of dy. parts [chunks, 2, width]; a thread a column.
extern "C" __global__ void norms_weights_chunk(const float* dy, const float* x, const float* stats, float* parts, int rows,
                                               int width, int chunk, int centred) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= width) return;
  const int from = blockIdx.y * chunk, to = min(rows, from + chunk);
  float gain = 0, bias = 0;
  for (int r = from; r < to; r++) {
    const float mean = centred ? stats[2 * r] : 0, inverse = centred ? stats[2 * r + 1] : stats[r];
    const float d = dy[(long long)r * width + column];
    gain += d * (x[(long long)r * width + column] - mean) * inverse;
    bias += d;
  }
  parts[(2ll * blockIdx.y) * width + column] = gain;
  parts[(2ll * blockIdx.y + 1) * width + column] = bias;
}

// The sums of the columns over a chunk of rows; parts [chunks, width].
extern "C" __global__ void norms_columns_chunk(const float* x, float* parts, int rows, int width, int chunk) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= width) return;
  const int from = blockIdx.y * chunk, to = min(rows, from + chunk);
  float sum = 0;
  for (int r = from; r < to; r++) sum += x[(long long)r * width + column];
  parts[(long long)blockIdx.y * width + column] = sum;
}

// y[c] = the sum over chunks of parts[chunk * stride + c].
extern "C" __global__ void norms_columns_total(const float* parts, float* y, int chunks, int width, long long stride) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= width) return;
  float sum = 0;
  for (int c = 0; c < chunks; c++) sum += parts[c * stride + column];
  y[column] = sum;
}
