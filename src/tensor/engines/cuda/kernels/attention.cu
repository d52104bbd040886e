// Causal attention without the [T, T] matrices (Dao et al., arXiv 2205.14135): tiles of 32 queries and 32 keys in shared memory, a row's
// largest score and sum carried on from tile to tile, ln of the sum kept for the backward pass. A warp has four rows of one side; its
// lanes are the 32 rows of the other side while scores are made, and columns of the head while rows are added up. Every sum has a fixed
// order. A head is at most 32 * W columns wide.
#include "common.cuh"

static const int TILE = 32, ROWS = 4;

struct Shape {
  int length, heads, kvHeads, width, window;
  long long qStride, kStride;
  __device__ int padded() const { return (width + 3) / 4 * 4; }
};

// Rows of a head into shared memory, columns beyond the head 0; rows beyond the sequence are 0 as well.
__device__ __forceinline__ void loadTile(const float* from, long long stride, int first, int length, int width, int padded,
                                         float* to) {
  const int lead = padded + 4;
  for (int i = threadIdx.x; i < TILE * padded; i += blockDim.x) {
    const int row = i / padded, column = i % padded;
    to[row * lead + column] = first + row < length && column < width ? from[(first + row) * stride + column] : 0;
  }
}

// Of ROWS rows of a and the lane's row of b.
__device__ __forceinline__ void dotProducts(const float* a, const float* b, int padded, float* sums) {
  const int lead = padded + 4, lane = threadIdx.x % WARP;
  for (int r = 0; r < ROWS; r++) sums[r] = 0;
  for (int c = 0; c < padded; c += 4) {
    const float4 y = *(const float4*)(b + lane * lead + c);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      const float4 x = *(const float4*)(a + r * lead + c);
      sums[r] += x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
    }
  }
}

// sums[r][j] += the sum over the 32 rows k of weights[k][r] * b[k][lane + 32 j]
template <int W>
__device__ __forceinline__ void addRows(const float* weights, const float* b, int padded, float (*sums)[W]) {
  const int lead = padded + 4, lane = threadIdx.x % WARP;
  for (int k = 0; k < TILE; k++) {
    const float4 w = *(const float4*)(weights + k * ROWS);
#pragma unroll
    for (int j = 0; j < W; j++) {
      const int column = lane + WARP * j;
      const float x = column < padded ? b[k * lead + column] : 0;
      sums[0][j] += w.x * x, sums[1][j] += w.y * x, sums[2][j] += w.z * x, sums[3][j] += w.w * x;
    }
  }
}

__device__ __forceinline__ bool sees(int query, int key, const Shape& s) {
  return key <= query && query < s.length && (s.window == 0 || query - key < s.window);
}

template <int W>
__device__ void forward(const float* q, const float* k, const float* v, float* o, float* lse, const Shape& s) {
  SHARED(float, memory);
  const int padded = s.padded(), lead = padded + 4;
  float *tileQ = memory, *tileK = tileQ + TILE * lead, *tileV = tileK + TILE * lead, *weights = tileV + TILE * lead;
  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, head = blockIdx.y, first = blockIdx.x * TILE;
  const int kvHead = head / (s.heads / s.kvHeads);
  const long long start = (long long)blockIdx.z * s.length;
  const float *ofQ = q + start * s.qStride + (long long)head * s.width, *ofK = k + start * s.kStride + (long long)kvHead * s.width,
              *ofV = v + start * s.kStride + (long long)kvHead * s.width;
  const float scale = rsqrtf((float)s.width);
  loadTile(ofQ, s.qStride, first, s.length, s.width, padded, tileQ);
  float* own = weights + warp * TILE * ROWS;
  float top[ROWS], mass[ROWS], sums[ROWS][W];
  for (int r = 0; r < ROWS; r++) {
    top[r] = -INFINITY, mass[r] = 0;
    for (int j = 0; j < W; j++) sums[r][j] = 0;
  }
  const int begin = s.window > 0 ? max(0, first - s.window + 1) / TILE * TILE : 0;
  for (int key = begin; key < min(first + TILE, s.length); key += TILE) {
    __syncthreads();
    loadTile(ofK, s.kStride, key, s.length, s.width, padded, tileK);
    loadTile(ofV, s.kStride, key, s.length, s.width, padded, tileV);
    __syncthreads();
    float scores[ROWS];
    dotProducts(tileQ + warp * ROWS * lead, tileK, padded, scores);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      const int query = first + warp * ROWS + r;
      const float score = sees(query, key + lane, s) ? scores[r] * scale : -INFINITY;
      const float most = fmaxf(top[r], warpMax(score));
      const float shrink = most == -INFINITY ? 1 : expf(top[r] - most);
      const float p = score == -INFINITY ? 0 : expf(score - most);
      mass[r] = mass[r] * shrink + warpSum(p);
      top[r] = most;
#pragma unroll
      for (int j = 0; j < W; j++) sums[r][j] *= shrink;
      own[lane * ROWS + r] = p;
    }
    __syncwarp();
    addRows<W>(own, tileV, padded, sums);
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    const int query = first + warp * ROWS + r;
    if (query < s.length) {
#pragma unroll
      for (int j = 0; j < W; j++) {
        const int column = lane + WARP * j;
        if (column < s.width) o[(start + query) * s.heads * s.width + (long long)head * s.width + column] = sums[r][j] / mass[r];
      }
      if (lane == 0) lse[((long long)blockIdx.z * s.heads + head) * s.length + query] = top[r] + logf(mass[r]);
    }
  }
}

// delta[b, h, t] = the sum over the head's columns of dy * o: a warp a row and head.
extern "C" __global__ void attention_delta(const float* dy, const float* o, float* delta, int length, int heads, int width,
                                           long long count) {
  const long long at = (long long)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  if (at >= count) return;
  const int lane = threadIdx.x % WARP;
  const long long row = at / heads, head = at % heads, from = (row * heads + head) * width;
  float sum = 0;
  for (int i = lane; i < width; i += WARP) sum += dy[from + i] * o[from + i];
  sum = warpSum(sum);
  if (lane == 0) delta[(row / length * heads + head) * length + row % length] = sum;
}

// The gradient of the queries, a block a tile of queries.
template <int W>
__device__ void backwardQ(const float* dy, const float* q, const float* k, const float* v, const float* lse, const float* delta,
                          float* dq, const Shape& s) {
  SHARED(float, memory);
  const int padded = s.padded(), lead = padded + 4;
  float *tileQ = memory, *tileD = tileQ + TILE * lead, *tileK = tileD + TILE * lead, *tileV = tileK + TILE * lead,
        *weights = tileV + TILE * lead;
  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, head = blockIdx.y, first = blockIdx.x * TILE;
  const int kvHead = head / (s.heads / s.kvHeads);
  const long long start = (long long)blockIdx.z * s.length, outer = (long long)s.heads * s.width;
  const float *ofK = k + start * s.kStride + (long long)kvHead * s.width, *ofV = v + start * s.kStride + (long long)kvHead * s.width;
  const float scale = rsqrtf((float)s.width);
  loadTile(q + start * s.qStride + (long long)head * s.width, s.qStride, first, s.length, s.width, padded, tileQ);
  loadTile(dy + start * outer + (long long)head * s.width, outer, first, s.length, s.width, padded, tileD);
  float* own = weights + warp * TILE * ROWS;
  float sums[ROWS][W];
  for (int r = 0; r < ROWS; r++)
    for (int j = 0; j < W; j++) sums[r][j] = 0;
  const long long statistics = ((long long)blockIdx.z * s.heads + head) * s.length;
  const int begin = s.window > 0 ? max(0, first - s.window + 1) / TILE * TILE : 0;
  for (int key = begin; key < min(first + TILE, s.length); key += TILE) {
    __syncthreads();
    loadTile(ofK, s.kStride, key, s.length, s.width, padded, tileK);
    loadTile(ofV, s.kStride, key, s.length, s.width, padded, tileV);
    __syncthreads();
    float scores[ROWS], slopes[ROWS];
    dotProducts(tileQ + warp * ROWS * lead, tileK, padded, scores);
    dotProducts(tileD + warp * ROWS * lead, tileV, padded, slopes);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      const int query = first + warp * ROWS + r;
      float ds = 0;
      if (sees(query, key + lane, s)) ds = expf(scores[r] * scale - lse[statistics + query]) * (slopes[r] - delta[statistics + query]);
      own[lane * ROWS + r] = ds;
    }
    __syncwarp();
    addRows<W>(own, tileK, padded, sums);
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    const int query = first + warp * ROWS + r;
#pragma unroll
    for (int j = 0; j < W; j++) {
      const int column = lane + WARP * j;
      if (query < s.length && column < s.width)
        dq[(start + query) * s.qStride + (long long)head * s.width + column] = sums[r][j] * scale;
    }
  }
}

// The gradients of keys and values, a block a tile of keys: over the query heads that share them, and over the queries that see them.
template <int W>
__device__ void backwardKV(const float* dy, const float* q, const float* k, const float* v, const float* lse,
                           const float* delta, float* dk, float* dv, const Shape& s) {
  SHARED(float, memory);
  const int padded = s.padded(), lead = padded + 4;
  float *tileQ = memory, *tileD = tileQ + TILE * lead, *tileK = tileD + TILE * lead, *tileV = tileK + TILE * lead,
        *weights = tileV + TILE * lead;
  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, kvHead = blockIdx.y, first = blockIdx.x * TILE;
  const int group = s.heads / s.kvHeads;
  const long long start = (long long)blockIdx.z * s.length, outer = (long long)s.heads * s.width;
  const float scale = rsqrtf((float)s.width);
  loadTile(k + start * s.kStride + (long long)kvHead * s.width, s.kStride, first, s.length, s.width, padded, tileK);
  loadTile(v + start * s.kStride + (long long)kvHead * s.width, s.kStride, first, s.length, s.width, padded, tileV);
  float *ofP = weights + warp * 2 * TILE * ROWS, *ofDs = ofP + TILE * ROWS;
  float sumsK[ROWS][W], sumsV[ROWS][W];
  for (int r = 0; r < ROWS; r++)
    for (int j = 0; j < W; j++) sumsK[r][j] = sumsV[r][j] = 0;
  const int end = s.window > 0 ? min(s.length, first + TILE + s.window - 1) : s.length;
  for (int head = kvHead * group; head < (kvHead + 1) * group; head++) {
    const long long statistics = ((long long)blockIdx.z * s.heads + head) * s.length;
    for (int query = first; query < end; query += TILE) {
      __syncthreads();
      loadTile(q + start * s.qStride + (long long)head * s.width, s.qStride, query, s.length, s.width, padded, tileQ);
      loadTile(dy + start * outer + (long long)head * s.width, outer, query, s.length, s.width, padded, tileD);
      __syncthreads();
      float scores[ROWS], slopes[ROWS];
      dotProducts(tileK + warp * ROWS * lead, tileQ, padded, scores);
      dotProducts(tileV + warp * ROWS * lead, tileD, padded, slopes);
      const int at = query + lane;
      const float sum = at < s.length ? lse[statistics + at] : 0, mean = at < s.length ? delta[statistics + at] : 0;
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        const int key = first + warp * ROWS + r;
        const float p = sees(at, key, s) ? expf(scores[r] * scale - sum) : 0;
        ofP[lane * ROWS + r] = p;
        ofDs[lane * ROWS + r] = p * (slopes[r] - mean);
      }
      __syncwarp();
      addRows<W>(ofP, tileD, padded, sumsV);
      addRows<W>(ofDs, tileQ, padded, sumsK);
    }
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    const int key = first + warp * ROWS + r;
#pragma unroll
    for (int j = 0; j < W; j++) {
      const int column = lane + WARP * j;
      if (key < s.length && column < s.width) {
        const long long to = (start + key) * s.kStride + (long long)kvHead * s.width + column;
        dk[to] = sumsK[r][j] * scale;
        dv[to] = sumsV[r][j];
      }
    }
  }
}

#define SHAPE \
  { length, heads, kvHeads, width, window, qStride, kStride }

extern "C" __global__ void __launch_bounds__(256, 1) attention_forward_32(const float* q, const float* k, const float* v, float* o, float* lse,
    int length, int heads, int kvHeads, int width, int window, long long qStride, long long kStride) {
  const Shape s = SHAPE;
  forward<1>(q, k, v, o, lse, s);
}
extern "C" __global__ void __launch_bounds__(256, 1) attention_backward_q_32(const float* dy, const float* q, const float* k, const float* v,
    const float* lse, const float* delta, float* dq, int length, int heads, int kvHeads, int width, int window, long long qStride,
    long long kStride) {
  const Shape s = SHAPE;
  backwardQ<1>(dy, q, k, v, lse, delta, dq, s);
}
extern "C" __global__ void __launch_bounds__(256, 1) attention_backward_kv_32(const float* dy, const float* q, const float* k, const float* v,
    const float* lse, const float* delta, float* dk, float* dv, int length, int heads, int kvHeads, int width, int window,
    long long qStride, long long kStride) {
  const Shape s = SHAPE;
  backwardKV<1>(dy, q, k, v, lse, delta, dk, dv, s);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_forward_64(const float* q, const float* k, const float* v, float* o, float* lse,
    int length, int heads, int kvHeads, int width, int window, long long qStride, long long kStride) {
  const Shape s = SHAPE;
  forward<2>(q, k, v, o, lse, s);
}
extern "C" __global__ void __launch_bounds__(256, 1) attention_backward_q_64(const float* dy, const float* q, const float* k, const float* v,
    const float* lse, const float* delta, float* dq, int length, int heads, int kvHeads, int width, int window, long long qStride,
    long long kStride) {
  const Shape s = SHAPE;
  backwardQ<2>(dy, q, k, v, lse, delta, dq, s);
}
extern "C" __global__ void __launch_bounds__(256, 1) attention_backward_kv_64(const float* dy, const float* q, const float* k, const float* v,
    const float* lse, const float* delta, float* dk, float* dv, int length, int heads, int kvHeads, int width, int window,
    long long qStride, long long kStride) {
  const Shape s = SHAPE;
  backwardKV<2>(dy, q, k, v, lse, delta, dk, dv, s);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_forward_128(const float* q, const float* k, const float* v, float* o, float* lse,
    int length, int heads, int kvHeads, int width, int window, long long qStride, long long kStride) {
  const Shape s = SHAPE;
  forward<4>(q, k, v, o, lse, s);
}
extern "C" __global__ void __launch_bounds__(256, 1) attention_backward_q_128(const float* dy, const float* q, const float* k, const float* v,
    const float* lse, const float* delta, float* dq, int length, int heads, int kvHeads, int width, int window, long long qStride,
    long long kStride) {
  const Shape s = SHAPE;
  backwardQ<4>(dy, q, k, v, lse, delta, dq, s);
}
extern "C" __global__ void __launch_bounds__(256, 1) attention_backward_kv_128(const float* dy, const float* q, const float* k, const float* v,
    const float* lse, const float* delta, float* dk, float* dv, int length, int heads, int kvHeads, int width, int window,
    long long qStride, long long kStride) {
  const Shape s = SHAPE;
  backwardKV<4>(dy, q, k, v, lse, delta, dk, dv, s);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_forward_256(const float* q, const float* k, const float* v, float* o, float* lse,
    int length, int heads, int kvHeads, int width, int window, long long qStride, long long kStride) {
  const Shape s = SHAPE;
  forward<8>(q, k, v, o, lse, s);
}
extern "C" __global__ void __launch_bounds__(256, 1) attention_backward_q_256(const float* dy, const float* q, const float* k, const float* v,
    const float* lse, const float* delta, float* dq, int length, int heads, int kvHeads, int width, int window, long long qStride,
    long long kStride) {
  const Shape s = SHAPE;
  backwardQ<8>(dy, q, k, v, lse, delta, dq, s);
}
extern "C" __global__ void __launch_bounds__(256, 1) attention_backward_kv_256(const float* dy, const float* q, const float* k, const float* v,
    const float* lse, const float* delta, float* dk, float* dv, int length, int heads, int kvHeads, int width, int window,
    long long qStride, long long kStride) {
  const Shape s = SHAPE;
  backwardKV<8>(dy, q, k, v, lse, delta, dk, dv, s);
}
