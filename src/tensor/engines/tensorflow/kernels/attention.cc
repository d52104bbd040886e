// Causal attention, forward and backward, without the [T, T] matrices of all heads in memory (after Dao et al.,
// arXiv 2205.14135): a block of queries at a time, the scores of the block in a thread's own cache. Kept for the backward
// pass: the output and ln sum exp of each row of scores.
#include <cmath>

#include "decodeAttention.h"
#include "gemm.h"
#include "op.h"
#include "pool.h"
#include "rows.h"
#include "vec.h"

namespace minillm {
namespace {

constexpr int64_t QUERIES = 64;  // of a block
thread_local Scratch scratchScores, scratchProducts;

// Packed: keys and values lie in the rows of q, behind the queries, and the inputs k and v are not read.
struct Heads {
  int64_t batch, length, heads, kvHeads, width, window, ldq, ldk;
  float scale;
  bool packed;
  Heads(const Attrs& a, const Tensor& q, const Tensor& k) {
    heads = a.ints[0], kvHeads = a.ints[1], length = a.ints[2], window = a.ints[3], packed = a.ints[4];
    ldq = q.cols(), ldk = packed ? ldq : k.cols();
    const int64_t parts = packed ? heads + 2 * kvHeads : heads;
    width = parts > 0 ? ldq / parts : 0;
    batch = length > 0 ? q.rows() / length : 0;
    scale = width > 0 ? 1 / std::sqrt(static_cast<float>(width)) : 0;
  }
  bool fit(const Tensor& q, const Tensor& k, const Tensor& v) const {
    if (heads <= 0 || kvHeads <= 0 || heads % kvHeads != 0 || length <= 0 || q.rows() != batch * length) return false;
    if (packed) return ldq == (heads + 2 * kvHeads) * width;
    return ldq == heads * width && ldk == kvHeads * width && k.rows() == q.rows() && v.size() == k.size();
  }
  // Where keys and values begin, given q, k and v or their gradients.
  float* keys(const Tensor& q, const Tensor& k) const { return packed ? q.floats() + heads * width : k.floats(); }
  float* values(const Tensor& q, const Tensor& v) const {
    return packed ? q.floats() + (heads + kvHeads) * width : v.floats();
  }
  // The first slot that a query at slot t reads.
  int64_t first(int64_t t) const { return window > 0 && t + 1 > window ? t + 1 - window : 0; }
};

// Rows `from`..`from + rows` of one head: in place, scores to exp(scale * s - shift(row)) where the query may look, else 0.
template <class Shift>
void maskedExp(float* scores, int64_t ld, int64_t rows, int64_t q0, int64_t k0, const Heads& h, Shift shift) {
  for (int64_t i = 0; i < rows; i++) {
    float* s = scores + i * ld;
    const int64_t lo = h.first(q0 + i) - k0, hi = q0 + i + 1 - k0;
    const float by = shift(i);
    std::fill(s, s + lo, 0.f);
    lanes(hi - lo, [&](int64_t j, int n) { storeAt(s + lo + j, vexp(loadAt(s + lo + j, n) * h.scale - by), n); });
    std::fill(s + hi, s + ld, 0.f);
  }
}

struct Attention {
  static constexpr const char* name = "MinillmAttention";
  static constexpr const char* inputs[] = {"q: float", "k: float", "v: float"};
  static constexpr const char* outputs[] = {"o: float", "lse: float"};  // lse [B, H, T]
  static constexpr const char* attrs[] = {"heads: int", "kv_heads: int", "length: int", "window: int", "packed: int"};
  static void run(Call& call) {
    const Tensor q = call.in(0), k = call.in(1), v = call.in(2);
    const Heads h(call.attrs, q, k);
    if (!call.expect(h.fit(q, k, v), "Attention: the shapes do not fit")) return;
    const int64_t ldq = h.ldq, ldk = h.ldk, ldo = h.heads * h.width;
    const Tensor o = call.out(0, {q.rows(), ldo}), lse = call.out(1, {h.batch, h.heads, h.length});
    const int64_t blocks = (h.length + QUERIES - 1) / QUERIES, group = h.heads / h.kvHeads;
    const float *keysAt = h.keys(q, k), *valuesAt = h.values(q, v);
    parallel(h.batch * h.heads * blocks, [&](int64_t task) {
      // The longest blocks first: the last task decides when all are done.
      const int64_t block = blocks - 1 - task / (h.batch * h.heads), pair = task % (h.batch * h.heads);
      const int64_t b = pair / h.heads, head = pair % h.heads;
      const int64_t q0 = block * QUERIES, rows = std::min(QUERIES, h.length - q0);
      const int64_t k0 = h.first(q0), keys = q0 + rows - k0;
      float* scores = scratchScores.floats(QUERIES * keys);
      const float* qAt = q.floats() + (b * h.length + q0) * ldq + head * h.width;
      const int64_t kvAt = (b * h.length + k0) * ldk + head / group * h.width;
      multiplySerial(rows, keys, h.width, {qAt, ldq, 1}, {keysAt + kvAt, 1, ldk}, scores, keys, scratchProducts);
      float* lseAt = lse.floats() + pair * h.length + q0;
      for (int64_t i = 0; i < rows; i++) {
        const int64_t lo = h.first(q0 + i) - k0, hi = q0 + i + 1 - k0;
        lseAt[i] = largestOf(scores + i * keys + lo, hi - lo) * h.scale;
      }
      maskedExp(scores, keys, rows, q0, k0, h, [&](int64_t i) { return lseAt[i]; });
      float* oAt = o.floats() + (b * h.length + q0) * ldo + head * h.width;
      multiplySerial(rows, h.width, keys, {scores, keys, 1}, {valuesAt + kvAt, ldk, 1}, oAt, ldo, scratchProducts);
      for (int64_t i = 0; i < rows; i++) {
        vf total = all(0);
        lanes(keys, [&](int64_t j, int n) { total += loadAt(scores + i * keys + j, n); });
        const float mass = sum(total), inverse = 1 / mass;
        lanes(h.width, [&](int64_t j, int n) { storeAt(oAt + i * ldo + j, loadAt(oAt + i * ldo + j, n) * inverse, n); });
        lseAt[i] += std::log(mass);
      }
    });
  }
};

struct AttentionGrad {
  static constexpr const char* name = "MinillmAttentionGrad";
  static constexpr const char* inputs[] = {"dout: float", "q: float", "k: float", "v: float", "o: float", "lse: float"};
  static constexpr const char* outputs[] = {"dq: float", "dk: float", "dv: float"};
  static constexpr const char* attrs[] = {"heads: int", "kv_heads: int", "length: int", "window: int", "packed: int"};
  static void run(Call& call) {
    const Tensor dout = call.in(0), q = call.in(1), k = call.in(2), v = call.in(3), o = call.in(4), lse = call.in(5);
    const Heads h(call.attrs, q, k);
    const int64_t ldq = h.ldq, ldk = h.ldk, ldo = h.heads * h.width;
    if (!call.expect(h.fit(q, k, v) && dout.size() == q.rows() * ldo && o.size() == dout.size() &&
                         lse.size() == h.batch * h.heads * h.length,
                     "AttentionGrad: the shapes do not fit"))
      return;
    const std::vector<int64_t> ofKeys = h.packed ? std::vector<int64_t>{0} : k.dims();
    const Tensor dq = call.out(0, q.dims()), dk = call.out(1, ofKeys), dv = call.out(2, ofKeys);
    const int64_t group = h.heads / h.kvHeads;
    const float *keysAt = h.keys(q, k), *valuesAt = h.values(q, v);
    float *dKeysAt = h.keys(dq, dk), *dValuesAt = h.values(dq, dv);
    const Epilogue add{nullptr, nullptr, true};
    // One task owns the keys and values of a head: their gradients are sums over its queries, in a fixed order.
    parallel(h.batch * h.kvHeads, [&](int64_t task) {
      const int64_t b = task / h.kvHeads, kvHead = task % h.kvHeads, kvBase = b * h.length * ldk + kvHead * h.width;
      for (int64_t t = 0; t < h.length; t++) {
        std::fill_n(dKeysAt + kvBase + t * ldk, h.width, 0.f);
        std::fill_n(dValuesAt + kvBase + t * ldk, h.width, 0.f);
      }
      for (int64_t head = kvHead * group; head < (kvHead + 1) * group; head++) {
        for (int64_t q0 = 0; q0 < h.length; q0 += QUERIES) {
          const int64_t rows = std::min(QUERIES, h.length - q0), k0 = h.first(q0), keys = q0 + rows - k0;
          float* p = scratchScores.floats(2 * QUERIES * keys);
          float* ds = p + QUERIES * keys;
          const int64_t row = b * h.length + q0, kvAt = kvBase + k0 * ldk;
          const int64_t qAt = row * ldq + head * h.width, oAt = row * ldo + head * h.width;
          const float* lseAt = lse.floats() + (b * h.heads + head) * h.length + q0;
          const Matrix qm{q.floats() + qAt, ldq, 1}, dm{dout.floats() + oAt, ldo, 1};
          multiplySerial(rows, keys, h.width, qm, {keysAt + kvAt, 1, ldk}, p, keys, scratchProducts);
          maskedExp(p, keys, rows, q0, k0, h, [&](int64_t i) { return lseAt[i]; });
          multiplySerial(rows, keys, h.width, dm, {valuesAt + kvAt, 1, ldk}, ds, keys, scratchProducts);
          for (int64_t i = 0; i < rows; i++) {
            vf along = all(0);  // sum over the keys of p dp, without the keys
            lanes(h.width, [&](int64_t j, int n) {
              along += loadAt(dout.floats() + oAt + i * ldo + j, n) * loadAt(o.floats() + oAt + i * ldo + j, n);
            });
            const float mean = sum(along);
            lanes(keys, [&](int64_t j, int n) {
              const vf pj = loadAt(p + i * keys + j, n);
              storeAt(ds + i * keys + j, pj * (loadAt(ds + i * keys + j, n) - mean) * h.scale, n);
            });
          }
          multiplySerial(rows, h.width, keys, {ds, keys, 1}, {keysAt + kvAt, ldk, 1}, dq.floats() + qAt, ldq,
                         scratchProducts);
          multiplySerial(keys, h.width, rows, {ds, 1, keys}, {q.floats() + qAt, ldq, 1}, dKeysAt + kvAt, ldk,
                         scratchProducts, add);
          multiplySerial(keys, h.width, rows, {p, 1, keys}, dm, dValuesAt + kvAt, ldk,
                         scratchProducts, add);
        }
      }
    });
  }
};

// The attention of one layer by itself, for models whose blocks are not those below.
struct DecodeAttention {
  static constexpr const char* name = "MinillmDecodeAttention";
  static constexpr const char* inputs[] = {"q: float",    "k: float",      "v: float",
                                           "keys: float", "values: float", "positions: int32"};
  static constexpr const char* outputs[] = {"o: float"};
  static constexpr const char* attrs[] = {"heads: int", "kv_heads: int", "window: int"};
  static void run(Call& call) {
    const Tensor q = call.in(0), k = call.in(1), v = call.in(2), keys = call.in(3), values = call.in(4),
                 positions = call.in(5);
    const int64_t heads = call.attrs.ints[0], kvHeads = call.attrs.ints[1];
    const int64_t batch = q.rows(), width = heads > 0 ? q.cols() / heads : 0;
    const int64_t slots = batch * kvHeads > 0 ? keys.rows() / (batch * kvHeads) : 0;
    const bool fit = heads > 0 && kvHeads > 0 && heads % kvHeads == 0 && q.cols() == heads * width &&
                     keys.cols() == width && keys.rows() == batch * kvHeads * slots && values.size() == keys.size() &&
                     k.size() == batch * kvHeads * width && v.size() == k.size() && inside(positions, batch, slots);
    if (!call.expect(fit, "DecodeAttention: the shapes or positions do not fit")) return;
    const Tensor o = call.out(0, {batch, q.cols()});
    Attending all{batch, heads, kvHeads, width, slots, call.attrs.ints[2]};
    all.qStride = q.cols(), all.kvStride = kvHeads * width;
    all.q = q.floats(), all.k = k.floats(), all.v = v.floats();
    all.keys = keys.floats(), all.values = values.floats(), all.out = o.floats();
    all.positions = positions.ints();
    all.run();
  }
};

Register<Attention> attention;
Register<AttentionGrad> attentionGrad;
Register<DecodeAttention> decodeAttention;

}  // namespace
}  // namespace minillm
