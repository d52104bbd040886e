// The next token of every row, from one pass over both distributions while a row is in the cache, with all that a policy
// gradient wants to know about it.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gemm.h"
#include "op.h"
#include "pool.h"
#include "rows.h"
#include "vec.h"

namespace minillm {
namespace {

constexpr int64_t BLOCK = 64;  // of the two-level search
thread_local Scratch scratchMixture, scratchStudent, scratchTeacher;

// Of one row: x - max, exponentiated; the sum in float64.
struct Soft {
  float top;
  double mass;
  float logMass() const { return static_cast<float>(std::log(mass)); }
};

Soft soften(const float* x, int64_t size, float coolness) {
  const float top = largestOf(x, size) * coolness;
  return {top, sumRow(size, [&](int64_t i, int n) { return vexp(loadAt(x + i, n, -INFINITY) * coolness - top); })};
}

// Changes of single logits before the draw (kernels.ts, LogitEdits): those of a row, and the row with them.
struct Edits {
  const int32_t* ids;
  const float* factors;
  int64_t count;
  const float* applied(const float* x, int64_t size, Scratch& scratch) const {
    float* y = scratch.floats(size);
    std::memcpy(y, x, size * sizeof(float));
    for (int64_t i = 0; i < count; i++) {
      const float f = factors[i];
      float& logit = y[ids[i]];
      logit = f == INFINITY ? -INFINITY : logit > 0 ? logit / f : logit * f;
    }
    return y;
  }
};

// Probabilities that share sign, exponent and three bits of the fraction share a bucket; buckets order as their numbers do.
constexpr int SHIFT = 20, BUCKETS = 1 << (31 - SHIFT);
int bucketOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits >> SHIFT;
}
float leastOf(int bucket) {
  const uint32_t bits = static_cast<uint32_t>(bucket) << SHIFT;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

struct Buckets {
  std::vector<int64_t> counts;
  std::vector<double> masses;
  void fill(const float* mix, int64_t size) {
    counts.assign(BUCKETS, 0);
    masses.assign(BUCKETS, 0);
    for (int64_t i = 0; i < size; i++) {
      if (!(mix[i] > 0)) continue;
      const int b = bucketOf(mix[i]);
      counts[b]++;
      masses[b] += mix[i];
    }
  }
};
thread_local Buckets scratchBuckets;

// The last token that stays, in falling order of probability, the lower id first among equals; and the mass up to there.
struct Edge {
  float value;
  int64_t id;
  double mass;
};

// A token stays while fewer than `count` tokens, and less than `goal` of mass, are before it; the first always stays. Whole
// buckets are taken at once, and only the one in which the edge lies is sorted.
Edge edgeOf(const float* mix, int64_t size, const Buckets& buckets, int64_t count, double goal) {
  Edge edge = {INFINITY, size, 0};
  int64_t kept = 0;
  for (int b = BUCKETS - 1; b >= 0; b--) {
    if (buckets.counts[b] == 0) continue;
    if (kept + buckets.counts[b] <= count && edge.mass + buckets.masses[b] < goal) {
      kept += buckets.counts[b];
      edge = {leastOf(b), size, edge.mass + buckets.masses[b]};
      continue;
    }
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < size; i++)
      if (mix[i] > 0 && bucketOf(mix[i]) == b) ids.push_back(static_cast<int32_t>(i));
    std::sort(ids.begin(), ids.end(), [&](int32_t x, int32_t y) { return mix[x] != mix[y] ? mix[x] > mix[y] : x < y; });
    for (size_t i = 0; i < ids.size() && kept < count && (kept == 0 || edge.mass < goal); i++, kept++)
      edge = {mix[ids[i]], ids[i], edge.mass + mix[ids[i]]};
    break;
  }
  return edge;
}

// Top-k, then the nucleus of what is left. What is out becomes 0.
void truncate(float* mix, int64_t size, int64_t topK, double topP) {
  Buckets& buckets = scratchBuckets;
  buckets.fill(mix, size);
  const int64_t count = topK > 0 ? topK : size;
  Edge edge = edgeOf(mix, size, buckets, count, INFINITY);
  if (topP < 1) edge = edgeOf(mix, size, buckets, count, topP * edge.mass);
  lanes(size, [&](int64_t i, int n) {
    const vf x = loadAt(mix + i, n);
    storeAt(mix + i, choose(x >= all(edge.value), x, all(0)), n);
  });
  for (int64_t i = edge.id + 1; i < size; i++)
    if (mix[i] == edge.value) mix[i] = 0;
}

// What is less probable than this share of the likeliest becomes 0.
void truncateBelow(float* mix, int64_t size, float share) {
  const float least = share * largestOf(mix, size);
  lanes(size, [&](int64_t i, int n) {
    const vf x = loadAt(mix + i, n);
    storeAt(mix + i, choose(x >= all(least), x, all(0)), n);
  });
}

// First index whose running sum exceeds u times the total; where rounding pushes past the end, the last of positive weight.
int64_t invert(const float* mix, int64_t size, double u, double* mass) {
  const int64_t blocks = (size + BLOCK - 1) / BLOCK;
  std::vector<double> sums(blocks);
  double whole = 0;
  for (int64_t b = 0; b < blocks; b++) {
    vf part = all(0);
    lanes(std::min(BLOCK, size - b * BLOCK), [&](int64_t i, int n) { part += loadAt(mix + b * BLOCK + i, n); });
    whole += sums[b] = sum(part);
  }
  *mass = whole;
  double before = 0;
  int64_t last = -1;
  for (int64_t b = 0; b < blocks; b++) {
    if (!(sums[b] > 0)) continue;
    if (before + sums[b] <= u * whole && b + 1 < blocks) {
      before += sums[b];
      for (int64_t i = std::min(size, (b + 1) * BLOCK) - 1; i >= b * BLOCK && last < b * BLOCK; i--)
        if (mix[i] > 0) last = i;
      continue;
    }
    double running = before;
    for (int64_t i = b * BLOCK; i < std::min(size, (b + 1) * BLOCK); i++) {
      if (!(mix[i] > 0)) continue;
      running += mix[i];
      last = i;
      if (running > u * whole) return i;
    }
    before += sums[b];
  }
  return last;
}

// records [7, B]: token, ln q and entropy of q at the temperature, ln of the probability of what was drawn, ln p at
// temperature 1, KL(q || p) with p at temperature 1 (these two are 0 without a teacher), sum of q squared.
struct Sample {
  static constexpr const char* name = "MinillmSample";
  // uniforms [B, 2]: high and low part of a float64. settings: temperature, alpha, top-p, greedy, min-p. starts [B + 1], ids and
  // factors of edits; all empty where there are none.
  static constexpr const char* inputs[] = {"student: float", "teacher: float", "uniforms: float", "settings: float",
                                           "starts: int32",  "ids: int32",     "factors: float"};
  static constexpr const char* outputs[] = {"records: float"};
  static constexpr const char* attrs[] = {"vocab: int", "top_k: int"};
  static void run(Call& call) {
    const Tensor student = call.in(0), teacher = call.in(1), uniforms = call.in(2), settings = call.in(3);
    const int64_t rows = student.rows(), vocab = call.attrs.ints[0], topK = call.attrs.ints[1];
    const Tensor starts = call.in(4), ids = call.in(5), factors = call.in(6);
    const bool taught = teacher.size() > 0;
    if (!call.expect(vocab > 0 && student.cols() >= vocab && (!taught || (teacher.rows() == rows && teacher.cols() >= vocab)) &&
                         uniforms.size() == 2 * rows && settings.size() == 5,
                     "Sample: the shapes do not fit"))
      return;
    bool ordered = starts.size() == 0 || (starts.size() == rows + 1 && starts.ints()[0] == 0 && starts.ints()[rows] == ids.size());
    for (int64_t r = 0; ordered && r + 1 < starts.size(); r++) ordered = starts.ints()[r] <= starts.ints()[r + 1];
    if (!call.expect(ordered && inside(ids, factors.size(), vocab) && (starts.size() > 0 || ids.size() == 0),
                     "Sample: the edits do not fit"))
      return;
    const Tensor records = call.out(0, {7, rows});
    const float coolness = 1 / settings.floats()[0], alpha = settings.floats()[1];
    const double topP = settings.floats()[2];
    const float minP = settings.floats()[4];
    const bool greedy = settings.floats()[3] != 0, mixed = taught && alpha > 0;
    const bool cut = !greedy && (topK > 0 || topP < 1 || minP > 0);
    parallelRanges(rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; r++) {
        const float *s = student.floats() + r * student.cols(), *t = taught ? teacher.floats() + r * teacher.cols() : nullptr;
        float* mix = scratchMixture.floats(vocab);
        const Soft q = soften(s, vocab, coolness);
        const float logQ = q.logMass(), perMass = static_cast<float>(1 / q.mass);
        const Soft p = taught ? soften(t, vocab, 1) : Soft{0, 1};
        Edits edits = {nullptr, nullptr, 0};
        if (starts.size() > 0) {
          const int32_t first = starts.ints()[r];
          edits = {ids.ints() + first, factors.floats() + first, starts.ints()[r + 1] - first};
        }
        const bool edited = edits.count > 0;
        // What is drawn from; q and p, which are recorded, stay as they are.
        const float* se = edited ? edits.applied(s, vocab, scratchStudent) : s;
        const float* te = edited && mixed ? edits.applied(t, vocab, scratchTeacher) : t;
        const Soft shown = edited ? soften(se, vocab, coolness) : q;
        const float perShown = static_cast<float>(1 / shown.mass);
        const Soft cool = mixed && (coolness != 1 || edited) ? soften(te, vocab, coolness) : p;
        const float logP = p.logMass(), perCool = static_cast<float>(1 / cool.mass);
        double entropy = 0, kl = 0, collision = 0;
        for (int64_t c = 0; c < vocab; c += 1024) {
          vf partEntropy = all(0), partKl = all(0), partCollision = all(0);
          lanes(std::min<int64_t>(1024, vocab - c), [&](int64_t i, int n) {
            const vf x = loadAt(s + c + i, n, -INFINITY) * coolness;
            const vf weight = vexp(x - q.top) * perMass, logq = (x - q.top) - logQ;
            partEntropy += choose(weight == all(0), all(0), -weight * logq);
            partCollision += weight * weight;
            vf share = edited ? vexp(loadAt(se + c + i, n, -INFINITY) * coolness - shown.top) * perShown : weight;
            if (taught) {
              const vf y = loadAt(t + c + i, n, -INFINITY);
              partKl += choose(weight == all(0), all(0), weight * (logq - ((y - p.top) - logP)));
              if (mixed) {
                const vf z = edited ? loadAt(te + c + i, n, -INFINITY) : y;
                share = alpha * (vexp(z * coolness - cool.top) * perCool) + (1 - alpha) * share;
              }
            }
            storeAt(mix + c + i, share, n);
          });
          entropy += sum(partEntropy);
          kl += sum(partKl);
          collision += sum(partCollision);
        }
        if (cut && (topK > 0 || topP < 1)) truncate(mix, vocab, topK, topP);
        if (cut && minP > 0) truncateBelow(mix, vocab, minP);
        int64_t token;
        double mass = 1;
        const float* scores = mixed ? mix : se;
        if (greedy) token = std::max_element(scores, scores + vocab) - scores;
        else token = invert(mix, vocab, static_cast<double>(uniforms.floats()[2 * r]) + uniforms.floats()[2 * r + 1], &mass);
        float* out = records.floats() + r;
        out[0] = static_cast<float>(token);
        const float logq = token < 0 ? 0 : (s[token] * coolness - q.top) - logQ;
        out[rows] = logq;
        out[2 * rows] = static_cast<float>(entropy);
        // Without mixture, edit or cut what was drawn is q itself, and the weight q / p~ is 1 to the bit.
        const bool plain = !mixed && !cut && !edited;
        out[3 * rows] = greedy ? 0 : plain ? logq : token < 0 ? 0 : static_cast<float>(std::log(mix[token] / (cut ? mass : 1)));
        out[4 * rows] = taught && token >= 0 ? (t[token] - p.top) - logP : 0;
        out[5 * rows] = static_cast<float>(kl);
        out[6 * rows] = static_cast<float>(collision);
      }
    });
  }
};

Register<Sample> sample;

}  // namespace
}  // namespace minillm
