// One new token of every sequence: embedding, norms without statistics, what is done to queries and keys before they meet, and attention
// over the slots of a cache that are filled.
#include "common.cuh"

// x[b] = tokens[ids[b]] (+ places[positions[b]]); places may be 0.
extern "C" __global__ void decode_embed(const float* tokens, const float* places, const int* ids, const int* positions, float* x,
                                        int width, long long size) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= size) return;
  const int b = i / width, column = i % width;
  const float token = tokens[(long long)ids[b] * width + column];
  x[i] = places ? token + places[(long long)positions[b] * width + column] : token;
}

// A block a row. Without a bias it is a root-mean-square norm.
extern "C" __global__ void decode_norm(const float* x, const float* gain, const float* bias, float* y, int width, float eps) {
  const float* in = x + (long long)blockIdx.x * width;
  float* out = y + (long long)blockIdx.x * width;
  float mean = 0;
  if (bias) {
    float sum = 0;
    for (int i = threadIdx.x; i < width; i += blockDim.x) sum += in[i];
    mean = blockSum(sum) / width;
  }
  float squares = 0;
  for (int i = threadIdx.x; i < width; i += blockDim.x) squares += (in[i] - mean) * (in[i] - mean);
  const float inverse = 1 / sqrtf(blockSum(squares) / width + eps);
  for (int i = threadIdx.x; i < width; i += blockDim.x)
    out[i] = (in[i] - mean) * inverse * gain[i] + (bias ? bias[i] : 0);
}

// A warp for each head of queries, then keys, then values of a row: queries are normed and turned where they lie, keys on their way
// into the cache, values go there as they are. The gains of heads' norms and the angles may be 0.
extern "C" __global__ void decode_prepare(float* q, const float* k, const float* v, const float* gainQ, const float* gainK,
                                          const float* cosines, const float* sines, const int* positions, float* keys,
                                          float* values, int heads, int kvHeads, int width, int slots, long long qStride,
                                          long long kStride, float eps) {
  const int lane = threadIdx.x, b = blockIdx.y, which = blockIdx.x, position = positions[b], half = width / 2;
  const bool query = which < heads, key = !query && which < heads + kvHeads;
  const int head = query ? which : key ? which - heads : which - heads - kvHeads;
  const long long slot = (((long long)b * kvHeads + head) * slots + position) * width;
  const float* from = query ? q + b * qStride + (long long)head * width
                      : key ? k + b * kStride + (long long)head * width
                            : v + b * kStride + (long long)head * width;
  float* to = query ? q + b * qStride + (long long)head * width : key ? keys + slot : values + slot;
  const float* gain = query ? gainQ : key ? gainK : 0;
  float inverse = 1;
  if (gain) {
    float squares = 0;
    for (int i = lane; i < width; i += WARP) squares += from[i] * from[i];
    inverse = 1 / sqrtf(warpSum(squares) / width + eps);
  }
  if (cosines && (query || key)) {
    for (int i = lane; i < half; i += WARP) {
      const float c = cosines[(long long)b * half + i], s = sines[(long long)b * half + i];
      const float x = from[i] * inverse * (gain ? gain[i] : 1), y = from[half + i] * inverse * (gain ? gain[half + i] : 1);
      to[i] = x * c - y * s;
      to[half + i] = y * c + x * s;
    }
  } else if (to != from || gain) {
    for (int i = lane; i < width; i += WARP) to[i] = from[i] * inverse * (gain ? gain[i] : 1);
  }
}

static const int WARPS = 4, PARTS = 4 * WARPS;  // groups of eight lanes, each with its own slots

// A block a query head of a row. Eight lanes share a slot, each with every eighth column; a group's largest score and sum are carried on,
// and the groups are put together in their order. With `windows`, `window` is the number of a layer in it.
template <int COLUMNS>
__device__ void attend(const float* q, const float* keys, const float* values, const int* positions, float* o, int heads,
                       int kvHeads, int width, int slots, int window, const int* windows, long long qStride) {
  __shared__ float tops[PARTS], masses[PARTS];
  SHARED(float, parts);
  const int b = blockIdx.y, head = blockIdx.x, lane = threadIdx.x % 8, group = threadIdx.x / 8;
  const long long cache = ((long long)b * kvHeads + head / (heads / kvHeads)) * slots * width;
  const float* own = q + b * qStride + (long long)head * width;
  const float scale = rsqrtf((float)width);
  float x[COLUMNS], sums[COLUMNS];
#pragma unroll
  for (int j = 0; j < COLUMNS; j++) {
    x[j] = lane + 8 * j < width ? own[lane + 8 * j] * scale : 0;
    sums[j] = 0;
  }
  float top = -INFINITY, mass = 0;
  const int look = windows ? windows[window] : window, last = positions[b], first = look > 0 ? max(0, last + 1 - look) : 0;
  // All groups go the same number of rounds: the shuffles need whole warps.
  const int rounds = (last - first + PARTS) / PARTS;
  for (int i = 0; i < rounds; i++) {
    const int slot = first + i * PARTS + group;
    const bool there = slot <= last;
    const float* key = keys + cache + (long long)(there ? slot : last) * width;
    const float* value = values + cache + (long long)(there ? slot : last) * width;
    float score = 0;
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
      if (lane + 8 * j < width) score += x[j] * key[lane + 8 * j];
    for (int step = 4; step > 0; step /= 2) score += __shfl_xor_sync(ALL_LANES, score, step);
    if (!there) continue;
    const float most = fmaxf(top, score), shrink = expf(top - most), p = expf(score - most);
    mass = mass * shrink + p;
    top = most;
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
      if (lane + 8 * j < width) sums[j] = sums[j] * shrink + p * value[lane + 8 * j];
  }
  if (lane == 0) {
    tops[group] = top;
    masses[group] = mass;
  }
#pragma unroll
  for (int j = 0; j < COLUMNS; j++)
    if (lane + 8 * j < width) parts[group * width + lane + 8 * j] = sums[j];
  __syncthreads();
  float most = -INFINITY, whole = 0;
  for (int g = 0; g < PARTS; g++) most = fmaxf(most, tops[g]);
  for (int g = 0; g < PARTS; g++) whole += masses[g] * expf(tops[g] - most);
  for (int column = threadIdx.x; column < width; column += blockDim.x) {
    float sum = 0;
    for (int g = 0; g < PARTS; g++) sum += parts[g * width + column] * expf(tops[g] - most);
    o[((long long)b * heads + head) * width + column] = sum / whole;
  }
}

extern "C" __global__ void __launch_bounds__(128) decode_attend_32(const float* q, const float* keys, const float* values, const int* positions,
    float* o, int heads, int kvHeads, int width, int slots, int window, const int* windows, long long qStride) {
  attend<4>(q, keys, values, positions, o, heads, kvHeads, width, slots, window, windows, qStride);
}

extern "C" __global__ void __launch_bounds__(128) decode_attend_64(const float* q, const float* keys, const float* values, const int* positions,
    float* o, int heads, int kvHeads, int width, int slots, int window, const int* windows, long long qStride) {
  attend<8>(q, keys, values, positions, o, heads, kvHeads, width, slots, window, windows, qStride);
}

extern "C" __global__ void __launch_bounds__(128) decode_attend_128(const float* q, const float* keys, const float* values, const int* positions,
    float* o, int heads, int kvHeads, int width, int slots, int window, const int* windows, long long qStride) {
  attend<16>(q, keys, values, positions, o, heads, kvHeads, width, slots, window, windows, qStride);
}

extern "C" __global__ void __launch_bounds__(128) decode_attend_256(const float* q, const float* keys, const float* values, const int* positions,
    float* o, int heads, int kvHeads, int width, int slots, int window, const int* windows, long long qStride) {
  attend<32>(q, keys, values, positions, o, heads, kvHeads, width, slots, window, windows, qStride);
}
