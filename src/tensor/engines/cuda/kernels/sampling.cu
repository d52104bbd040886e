// The draw of a token, and what is known of it: a block a row. Sums have a fixed order; a cut by top-k or top-p searches the value at
// the edge by bisection, so that nothing is sorted.
#include "common.cuh"

struct Soft {
  float top, logMass, perMass;
  __device__ float log(float x) const { return (x - top) - logMass; }
  __device__ float weight(float x) const { return expf(x - top) * perMass; }
};

// Softmax of x * coolness; every thread of the block gets it.
__device__ __forceinline__ Soft soften(const float* x, int vocab, float coolness) {
  float top = -INFINITY;
  for (int i = threadIdx.x; i < vocab; i += blockDim.x) top = fmaxf(top, x[i] * coolness);
  top = blockMax(top);
  float mass = 0;
  for (int i = threadIdx.x; i < vocab; i += blockDim.x) mass += expf(x[i] * coolness - top);
  const double whole = blockSum((double)mass);
  return {top, (float)log(whole), (float)(1 / whole)};
}

struct Beyond {
  long long count;
  double mass;
};

// Of the tokens whose weight is above the number with these bits. Bits of positive numbers order as the numbers do.
__device__ __forceinline__ Beyond beyond(const float* mix, int vocab, int bits) {
  long long count = 0;
  float mass = 0;
  for (int i = threadIdx.x; i < vocab; i += blockDim.x)
    if (mix[i] > 0 && __float_as_int(mix[i]) > bits) {
      count++;
      mass += mix[i];
    }
  return {blockSum(count), blockSum((double)mass)};
}

// A token stays while fewer than `most` tokens, and less than `goal` of mass, are before it in falling order of weight, the lower id
// first among equals; the first always stays. What is out becomes 0. Returns the mass that stays.
__device__ __forceinline__ double cut(float* mix, int vocab, long long most, double goal) {
  int low = 0, high = 0x7f800000;  // the edge is above low and at or below high
  while (high - low > 1) {
    const int middle = low + (high - low) / 2;
    const Beyond before = beyond(mix, vocab, middle);
    if (before.count > 0 && (before.count >= most || before.mass >= goal)) low = middle;
    else high = middle;
  }
  // Tokens of the weight `high` are the last that stay, as many as there is room for; if the edge is below the smallest, all stay.
  const Beyond before = beyond(mix, vocab, high);
  const float value = __int_as_float(high);
  long long room = most - before.count;
  if (goal < INFINITY) {
    const double left = ceil((goal - before.mass) / value);
    if (left < (double)room) room = (long long)left;
  }
  if (before.count == 0 && room < 1) room = 1;
  int from = 0, to = vocab;  // ids below `to` of that weight stay
  long long equals = 0;
  for (int i = threadIdx.x; i < vocab; i += blockDim.x) equals += mix[i] == value;
  equals = blockSum(equals);
  if (equals > room) {
    while (to - from > 0) {
      const int middle = from + (to - from) / 2;
      long long below = 0;
      for (int i = threadIdx.x; i <= middle; i += blockDim.x) below += mix[i] == value;
      if (blockSum(below) >= room) to = middle;
      else from = middle + 1;
    }
    to = from + 1;
  }
  float mass = 0;
  for (int i = threadIdx.x; i < vocab; i += blockDim.x) {
    if (mix[i] < value || (mix[i] == value && i >= to)) mix[i] = 0;
    mass += mix[i];
  }
  return blockSum((double)mass);
}

// What is less probable than this share of the likeliest becomes 0.
__device__ __forceinline__ void cutBelow(float* mix, int vocab, float share) {
  float top = 0;
  for (int i = threadIdx.x; i < vocab; i += blockDim.x) top = fmaxf(top, mix[i]);
  const float least = share * blockMax(top);
  for (int i = threadIdx.x; i < vocab; i += blockDim.x)
    if (mix[i] < least) mix[i] = 0;
}

// A row with the changes of single logits that come before the draw (kernels.ts, LogitEdits).
__device__ __forceinline__ void applyEdits(const float* x, float* y, int vocab, const int* ids, const float* factors, int count) {
  for (int i = threadIdx.x; i < vocab; i += blockDim.x) y[i] = x[i];
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const float f = factors[i], logit = y[ids[i]];
    y[ids[i]] = f == INFINITY ? -INFINITY : logit > 0 ? logit / f : logit * f;
  }
  __syncthreads();
}

// The lowest index of the largest number.
__device__ __forceinline__ int likeliest(const float* x, int vocab) {
  float top = -INFINITY;
  for (int i = threadIdx.x; i < vocab; i += blockDim.x) top = fmaxf(top, x[i]);
  top = blockMax(top);
  int first = vocab;
  for (int i = threadIdx.x; i < vocab; i += blockDim.x)
    if (x[i] == top) first = min(first, i);
  return -blockMax(-first);
}

// records [7, B]: token, ln q and entropy of q at the temperature, ln of the probability of what was drawn, ln p at temperature 1,
// KL(q || p) with p at temperature 1 (these two are 0 without a teacher), sum of q squared. mixtures [B, vocab] is scratch, with
// edits [3B, vocab]; uniforms [B, 2]: high and low part of a float64. settings: temperature, alpha, top-p, greedy, min-p. teacher
// may be 0, and starts [B + 1], where no logit is edited.
extern "C" __global__ void __launch_bounds__(1024) sampling_draw(const float* student, const float* teacher, const float* uniforms,
    const float* settings, const int* starts, const int* ids, const float* factors, float* mixtures, float* records, int vocab, int studentWidth, int teacherWidth, int topK, int rows) {
  __shared__ double sums[1024];
  __shared__ int drawn;
  __shared__ double total;
  const int row = blockIdx.x;
  const float* s = student + (long long)row * studentWidth;
  const float* t = teacher ? teacher + (long long)row * teacherWidth : 0;
  float* mix = mixtures + (long long)row * vocab;
  const float coolness = 1 / settings[0], alpha = settings[1], topP = settings[2], minP = settings[4];
  const bool greedy = settings[3] != 0, mixed = t && alpha > 0, cutting = !greedy && (topK > 0 || topP < 1 || minP > 0);
  const int first = starts ? starts[row] : 0, count = starts ? starts[row + 1] - first : 0;
  const bool edited = count > 0;
  // What is drawn from; q and p, which are recorded, stay as they are.
  const float *se = s, *te = t;
  if (edited) {
    float* own = mixtures + (long long)(rows + 2 * row) * vocab;
    applyEdits(s, own, vocab, ids + first, factors + first, count);
    se = own;
    if (mixed) {
      applyEdits(t, own + vocab, vocab, ids + first, factors + first, count);
      te = own + vocab;
    }
  }
  const Soft q = soften(s, vocab, coolness);
  const Soft p = t ? soften(t, vocab, 1) : q;
  const Soft shown = edited ? soften(se, vocab, coolness) : q;
  const Soft cool = mixed && (coolness != 1 || edited) ? soften(te, vocab, coolness) : p;
  float entropies = 0, kls = 0, squares = 0;
  for (int i = threadIdx.x; i < vocab; i += blockDim.x) {
    const float x = s[i] * coolness, weight = q.weight(x), logq = q.log(x);
    if (weight != 0) {
      entropies -= weight * logq;
      if (t) kls += weight * (logq - p.log(t[i]));
    }
    squares += weight * weight;
    const float share = edited ? shown.weight(se[i] * coolness) : weight;
    mix[i] = mixed ? alpha * cool.weight(te[i] * coolness) + (1 - alpha) * share : share;
  }
  const double entropy = blockSum((double)entropies), kl = blockSum((double)kls), collision = blockSum((double)squares);
  __syncthreads();
  if (cutting) {
    double mass = 1;
    if (topK > 0 && topK < vocab) mass = cut(mix, vocab, topK, INFINITY);
    else {
      float sum = 0;
      for (int i = threadIdx.x; i < vocab; i += blockDim.x) sum += mix[i];
      mass = blockSum((double)sum);
    }
    __syncthreads();
    if (topP < 1) cut(mix, vocab, vocab, topP * mass);
    __syncthreads();
    if (minP > 0) cutBelow(mix, vocab, minP);
    __syncthreads();
  }
  if (greedy) {
    const int best = likeliest(mixed ? mix : se, vocab);
    if (threadIdx.x == 0) drawn = best < vocab ? best : -1;
  } else {
    const int each = (vocab + blockDim.x - 1) / blockDim.x, from = threadIdx.x * each, to = min(vocab, from + each);
    double sum = 0;
    for (int i = from; i < to; i++) sum += mix[i];
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
      double whole = 0;
      for (int i = 0; i < (int)blockDim.x; i++) whole += sums[i];
      total = whole;
      const double goal = ((double)uniforms[2 * row] + uniforms[2 * row + 1]) * whole;
      double before = 0;
      int token = -1;
      bool found = false;
      for (int part = 0; part < (int)blockDim.x && !found; part++) {
        if (!(sums[part] > 0)) continue;
        // Where rounding pushes the goal past the end, the last token of positive weight is taken.
        if (before + sums[part] <= goal) {
          before += sums[part];
          for (int i = min(vocab, (part + 1) * each) - 1; i >= part * each; i--)
            if (mix[i] > 0) {
              token = i;
              break;
            }
          continue;
        }
        double running = before;
        for (int i = part * each; i < min(vocab, (part + 1) * each); i++) {
          if (!(mix[i] > 0)) continue;
          running += mix[i];
          token = i;
          if (running > goal) {
            found = true;
            break;
          }
        }
        before += sums[part];
      }
      drawn = token;
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    const int token = drawn;
    float* out = records + row;
    const float logq = token < 0 ? 0 : q.log(s[token] * coolness);
    out[0] = (float)token;
    out[rows] = logq;
    out[2 * rows] = (float)entropy;
    // Without mixture, edit or cut what was drawn is q itself, and the weight q / p~ is 1 to the bit.
    out[3 * rows] = greedy ? 0 : !mixed && !cutting && !edited ? logq : token < 0 ? 0 : (float)log(mix[token] / (cutting ? total : 1.0));
    out[4 * rows] = t && token >= 0 ? p.log(t[token]) : 0;
    out[5 * rows] = (float)(t ? kl : 0.0);
    out[6 * rows] = (float)collision;
  }
}
