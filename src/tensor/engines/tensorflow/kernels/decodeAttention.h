// Attention while decoding: one new token of every sequence, over caches of keys and values.
#pragma once
#include <algorithm>
#include <cmath>

#include "gemm.h"
#include "norms.h"
#include "op.h"
#include "pool.h"
#include "rotary.h"
#include "rows.h"
#include "vec.h"

namespace minillm {

// q . k, the lanes not yet added up.
inline vf productLanes(const float* q, const float* k, int64_t width) {
  vf total = all(0);
  lanes(width, [&](int64_t i, int n) { total += loadAt(q + i, n) * loadAt(k + i, n); });
  return total;
}

// p[u] = q . keys[u]; as many keys as there are lanes add their lanes up at once, by a transposition.
inline void scoresOf(const float* q, const float* keys, int64_t count, int64_t width, float* p) {
  lanes(count, [&](int64_t u, int n) {
    vf square[LANES] = {};
    for (int j = 0; j < n; j++) square[j] = productLanes(q, keys + (u + j) * width, width);
    transpose(square);
    vf total = square[0];
    for (int j = 1; j < LANES; j++) total += square[j];
    storeAt(p + u, total, n);
  });
}

// out = sum of p[u] values[u], REGISTERS times LANES columns of it.
template <int REGISTERS>
inline void blend(const float* p, const float* values, int64_t count, int64_t width, float inverse, float* out) {
  vf even[REGISTERS] = {}, odd[REGISTERS] = {};  // two sums each: an addition waits for the one before
  int64_t u = 0;
  for (; u + 1 < count; u += 2, values += 2 * width) {
    for (int r = 0; r < REGISTERS; r++) even[r] += p[u] * load(values + r * LANES);
    for (int r = 0; r < REGISTERS; r++) odd[r] += p[u + 1] * load(values + width + r * LANES);
  }
  for (int r = 0; r < REGISTERS; r++) {
    if (u < count) even[r] += p[u] * load(values + r * LANES);
    store(out + r * LANES, (even[r] + odd[r]) * inverse);
  }
}

// softmax(q keys^T) values of one query, already scaled. p: [count], for the weights.
inline void attend(const float* q, const float* keys, const float* values, int64_t count, int64_t width, float* p, float* out) {
  scoresOf(q, keys, count, width, p);
  const float top = largestOf(p, count);
  vf total = all(0);
  lanes(count, [&](int64_t u, int n) {
    const vf e = vexp(loadAt(p + u, n, -INFINITY) - top);
    storeAt(p + u, e, n);
    total += e;
  });
  const float inverse = 1 / sum(total);
  int64_t i = 0;
  for (; i + 4 * LANES <= width; i += 4 * LANES) blend<4>(p, values + i, count, width, inverse, out + i);
  for (; i + LANES <= width; i += LANES) blend<1>(p, values + i, count, width, inverse, out + i);
  if (i < width) {
    const int n = static_cast<int>(width - i);
    vf rest = all(0);
    for (int64_t u = 0; u < count; u++) rest += p[u] * loadAt(values + u * width + i, n);
    storeAt(out + i, rest * inverse, n);
  }
}

// Where the queries, keys and values of the new tokens lie, how they are changed before they meet, and the caches:
// [B * Hkv * slots, width]. The keys and values of a token go in at its position, and its query attends to all slots up to
// there; no slot beyond is touched, so no mask is needed.
struct Attending {
  int64_t batch, heads, kvHeads, width, slots, window;
  const float *q, *k, *v;
  int64_t qStride, kvStride;  // from one sequence to the next; the output is as tight as can be
  float *keys, *values, *out;
  const int32_t* positions;
  const float *qGain = nullptr, *kGain = nullptr, *cos = nullptr, *sin = nullptr;  // none if null
  float eps = 0;

  void run() const {
    const float scale = 1 / std::sqrt(static_cast<float>(width));
    const int64_t group = heads / kvHeads;
    parallelRanges(batch * kvHeads, 1, [&](int64_t from, int64_t to) {
      thread_local Scratch scratch;
      float *p = scratch.floats(slots + 2 * width), *head = p + slots;
      for (int64_t pair = from; pair < to; pair++) {
        const int64_t b = pair / kvHeads, h = pair % kvHeads, position = positions[b];
        const int64_t first = window > 0 && position + 1 > window ? position + 1 - window : 0;
        float *keysAt = keys + pair * slots * width, *valuesAt = values + pair * slots * width;
        ready(k + b * kvStride + h * width, kGain, b, keysAt + position * width, head + width);
        std::copy_n(v + b * kvStride + h * width, width, valuesAt + position * width);
        for (int64_t i = h * group; i < (h + 1) * group; i++) {
          ready(q + b * qStride + i * width, qGain, b, head, head + width);
          lanes(width, [&](int64_t j, int n) { storeAt(head + j, loadAt(head + j, n) * scale, n); });
          attend(head, keysAt + first * width, valuesAt + first * width, position + 1 - first, width, p,
                 out + (b * heads + i) * width);
        }
      }
    });
  }

  // A query or key as the scores want it: normalised and turned, where the model does so. `work`: [width].
  void ready(const float* x, const float* gain, int64_t b, float* to, float* work) const {
    if (gain) {
      rmsNormRow(x, width, gain, eps, work);
      x = work;
    }
    if (cos) turnHead(x, width / 2, cos + b * (width / 2), sin + b * (width / 2), 1, to);
    else std::copy_n(x, width, to);
  }
};

}  // namespace minillm
