// TensorFlow.js's own operations that move numbers: every reordering is one copy between two lists of strides.
#include "common.cuh"

static const int THREADS = 256;
static const int TILE = 32;
static const int TILE_ROWS = 8;

// y[Σ i yStride] = x[Σ i xStride] over up to six dimensions, the last the fastest; unused ones are 1.
template <class T>
__device__ __forceinline__ void copyStrided(const T* x, T* y, int64 size, const int* dims, const int64* from,
                                            const int64* to) {
  int64 rest = int64(blockIdx.x) * THREADS + threadIdx.x;
  if (rest >= size) return;
  int64 source = 0, target = 0;
#pragma unroll
  for (int d = 5; d > 0; d--) {
    if (dims[d] == 1) continue;
    int64 next = rest / dims[d];
    int64 index = rest - next * dims[d];
    source += index * from[d];
    target += index * to[d];
    rest = next;
  }
  y[target + rest * to[0]] = x[source + rest * from[0]];
}

extern "C" __global__ void tfjs_copy4(const unsigned int* x, unsigned int* y, long long size, int d0, int d1, int d2,
                                      int d3, int d4, int d5, long long x0, long long x1, long long x2, long long x3,
                                      long long x4, long long x5, long long y0, long long y1, long long y2,
                                      long long y3, long long y4, long long y5) {
  const int dims[6] = {d0, d1, d2, d3, d4, d5};
  const int64 from[6] = {x0, x1, x2, x3, x4, x5};
  const int64 to[6] = {y0, y1, y2, y3, y4, y5};
  copyStrided(x, y, size, dims, from, to);
}

extern "C" __global__ void tfjs_copy1(const unsigned char* x, unsigned char* y, long long size, int d0, int d1,
                                      int d2, int d3, int d4, int d5, long long x0, long long x1, long long x2,
                                      long long x3, long long x4, long long x5, long long y0, long long y1,
                                      long long y2, long long y3, long long y4, long long y5) {
  const int dims[6] = {d0, d1, d2, d3, d4, d5};
  const int64 from[6] = {x0, x1, x2, x3, x4, x5};
  const int64 to[6] = {y0, y1, y2, y3, y4, y5};
  copyStrided(x, y, size, dims, from, to);
}

// [batch, rows, columns] to [batch, columns, rows]: tiles by way of shared memory, read and written along rows. Blocks
// of (TILE, TILE_ROWS) threads; a tile's rows are one longer than it, so that a column of it lies in 32 banks.
extern "C" __global__ void tfjs_transpose4(const unsigned int* x, unsigned int* y, int rows, int columns) {
  __shared__ unsigned int tile[TILE][TILE + 1];
  int across = (columns + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
  int64 batch = blockIdx.x / (int64(across) * down);
  int inBatch = int(blockIdx.x - batch * across * down);
  int column0 = inBatch % across * TILE, row0 = inBatch / across * TILE;
  const unsigned int* from = x + batch * rows * columns;
  unsigned int* to = y + batch * rows * columns;
  int lane = int(threadIdx.x);
  for (int r = int(threadIdx.y); r < TILE; r += TILE_ROWS) {
    if (row0 + r < rows && column0 + lane < columns) tile[r][lane] = from[int64(row0 + r) * columns + column0 + lane];
  }
  __syncthreads();
  for (int c = int(threadIdx.y); c < TILE; c += TILE_ROWS) {
    if (column0 + c < columns && row0 + lane < rows) to[int64(column0 + c) * rows + row0 + lane] = tile[lane][c];
  }
}

// y[b, o, i, :] = x[b, o, indices[b, i], :]; zeros where the index is none.
template <class T>
__device__ __forceinline__ void gather(const T* x, const int* indices, T* y, int64 size, int64 outer, int64 dim,
                                       int64 count, int64 slice) {
  int64 n = int64(blockIdx.x) * THREADS + threadIdx.x;
  if (n >= size) return;
  int64 s = n % slice, i = n / slice % count, o = n / slice / count % outer, b = n / slice / count / outer;
  int64 index = indices[b * count + i];
  y[n] = index >= 0 && index < dim ? x[((b * outer + o) * dim + index) * slice + s] : T(0);
}

extern "C" __global__ void tfjs_gather4(const unsigned int* x, const int* indices, unsigned int* y, long long size,
                                        long long outer, long long dim, long long count, long long slice) {
  gather(x, indices, y, size, outer, dim, count, slice);
}

extern "C" __global__ void tfjs_gather1(const unsigned char* x, const int* indices, unsigned char* y, long long size,
                                        long long outer, long long dim, long long count, long long slice) {
  gather(x, indices, y, size, outer, dim, count, slice);
}

// y[n, indices[n]] = on, the rest off; both as the bits of four bytes.
extern "C" __global__ void tfjs_one_hot(const int* indices, unsigned int* y, long long size, int depth, int on,
                                        int off) {
  int64 n = int64(blockIdx.x) * THREADS + threadIdx.x;
  if (n < size) y[n] = unsigned(indices[n / depth] == int(n % depth) ? on : off);
}

// Where each update of a scatter goes: a list of `rank` indices as one number, -1 where an index is none.
extern "C" __global__ void tfjs_scatter_places(const int* indices, int* places, int count, int rank, int d0, int d1,
                                               int d2, int d3, int d4, int d5) {
  const int dims[6] = {d0, d1, d2, d3, d4, d5};
  int64 n = int64(blockIdx.x) * THREADS + threadIdx.x;
  if (n >= count) return;
  int64 place = 0;
#pragma unroll
  for (int d = 0; d < 6; d++) {
    if (d >= rank || place < 0) continue;
    int index = indices[n * rank + d];
    place = index >= 0 && index < dims[d] ? place * dims[d] + index : -1;
  }
  places[n] = int(place);
}

// Chains the updates that go to one place: the next of them (0 for none), and which begins its chain.
extern "C" __global__ void tfjs_scatter_chains(const int* places, int* next, int* begins, int count) {
  int n = int(int64(blockIdx.x) * THREADS + threadIdx.x);
  if (n >= count) return;
  int place = places[n];
  int follower = n + 1, before = 0;
  while (follower < count && places[follower] != place) follower++;
  while (before < n && places[before] != place) before++;
  next[n] = follower < count ? follower : 0;
  begins[n] = place >= 0 && before == n ? 1 : 0;
}

// Adds up each chain in its order; the rest of y has been zeroed. No two threads write to one number.
template <class T>
__device__ __forceinline__ void scatter(const T* updates, const int* places, const int* next, const int* begins, T* y,
                                        int64 count, int64 slice) {
  int64 thread = int64(blockIdx.x) * THREADS + threadIdx.x;
  if (thread >= count * slice) return;
  int64 s = thread % slice;
  int n = int(thread / slice);
  if (!begins[n]) return;
  T sum = updates[n * slice + s];
  for (int m = next[n]; m != 0; m = next[m]) sum += updates[m * slice + s];
  y[places[n] * slice + s] = sum;
}

extern "C" __global__ void tfjs_scatter_float(const float* updates, const int* places, const int* next,
                                              const int* begins, float* y, long long count, long long slice) {
  scatter(updates, places, next, begins, y, count, slice);
}

extern "C" __global__ void tfjs_scatter_int(const int* updates, const int* places, const int* next, const int* begins,
                                            int* y, long long count, long long slice) {
  scatter(updates, places, next, begins, y, count, slice);
}

// buffer[rows[n], :] = values[n, :]; rows are distinct, and one that the buffer does not have is passed over.
extern "C" __global__ void tfjs_write_rows(float* buffer, const int* rows, const float* values, long long size,
                                           int columns, int bufferRows) {
  int64 n = int64(blockIdx.x) * THREADS + threadIdx.x;
  if (n >= size) return;
  int64 row = rows[n / columns];
  if (row >= 0 && row < bufferRows) buffer[row * columns + n % columns] = values[n];
}
