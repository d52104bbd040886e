// Decoding: one new token of every sequence through a whole model of pre-norm blocks, from the embedding to the last norm, in
// one call. What a model does not have is an empty tensor: no bias of a norm is a root-mean-square norm, no separate key map
// means that one map gives queries, keys and values, no gate is a GELU and no cosines are no rotary positions. After the blocks the
// low-rank adapters of their maps may follow, A and B of each, and last a number for every map: what (x A) B is multiplied by.
#include <algorithm>
#include <vector>

#include "decodeAttention.h"
#include "gemm.h"
#include "norms.h"
#include "op.h"
#include "pool.h"
#include "vec.h"
#include "weights.h"

namespace minillm {
namespace {

// In the order in which they are passed.
enum Shared { TOKENS, PLACES, LAST_GAIN, LAST_BIAS, SHARED };
enum OfBlock {
  GAIN1, BIAS1, Q, Q_BIAS, K, K_BIAS, V, V_BIAS, Q_GAIN, K_GAIN, O, O_BIAS,
  GAIN2, BIAS2, UP, UP_BIAS, GATE, GATE_BIAS, DOWN, DOWN_BIAS, OF_BLOCK
};

// The maps of a block in the order of their adapters.
constexpr int MAPS[] = {Q, K, V, O, UP, GATE, DOWN};
constexpr int OF_MAPS = 7;

template <class Vector>
const float* orNull(const Vector& x) { return x.size() > 0 ? x.floats() : nullptr; }

struct Sizes {
  int64_t batch, width, heads, kvHeads, headWidth, inner;
  int64_t q() const { return heads * headWidth; }
  int64_t kv() const { return kvHeads * headWidth; }

  // Whether the tensors of a block are of these sizes.
  bool fit(const Weights* w) const {
    const bool fused = w[K].size() == 0;
    const auto map = [&](int weight, int64_t from, int64_t to) {
      const int64_t bias = w[weight + 1].size();
      return w[weight].fit() && w[weight].rows() == from && w[weight].cols() == to && (bias == 0 || bias == to);
    };
    const auto norm = [&](int gain) {
      return w[gain].size() == width && (w[gain + 1].size() == 0 || w[gain + 1].size() == width);
    };
    const auto headNorm = [&](int gain) { return w[gain].size() == 0 || w[gain].size() == headWidth; };
    return norm(GAIN1) && norm(GAIN2) && map(Q, width, fused ? q() + 2 * kv() : q()) &&
           (fused || (map(K, width, kv()) && map(V, width, kv()))) && headNorm(Q_GAIN) && headNorm(K_GAIN) &&
           map(O, q(), width) && map(UP, width, inner) && (w[GATE].size() == 0 || map(GATE, width, inner)) &&
           map(DOWN, inner, width);
  }
};

void normalise(const float* x, int64_t rows, int64_t width, const Weights& gain, const Weights& bias, float eps, float* out) {
  parallelRanges(rows, 16, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; r++) {
      if (bias.size() > 0) layerNormRow(x + r * width, width, gain.floats(), bias.floats(), eps, out + r * width);
      else rmsNormRow(x + r * width, width, gain.floats(), eps, out + r * width);
    }
  });
}

// What is added to a map: scale (x a) b, or nothing.
struct Adapter {
  const float *a = nullptr, *b = nullptr;
  int64_t rank = 0;
  float scale = 0;
};

// A product that is over before other threads would have been woken, if it is.
void small(int64_t M, int64_t N, int64_t K, Matrix a, Matrix b, float* c, int64_t ldc) {
  thread_local Scratch work;
  if (M * N * K < (1 << 20)) multiplySerial(M, N, K, a, b, c, ldc, work);
  else multiply(M, N, K, a, b, c, ldc);
}

// c = a w + bias + adapter and what else `end` asks for; w and its bias are neighbours in the list.
void affine(int64_t rows, const float* a, const Weights* w, float* c, int64_t ldc, const Adapter& adapter, Epilogue end = {}) {
  end.bias = orNull(w[1]);
  const int64_t inputs = w->rows(), outputs = w->cols();
  if (adapter.a) {
    thread_local Scratch scratch;
    const int64_t rank = adapter.rank;
    float* low = scratch.floats(rows * rank);
    small(rows, rank, inputs, {a, inputs, 1}, {adapter.a, rank, 1}, low, rank);
    for (int64_t i = 0; i < rows * rank; i++) low[i] *= adapter.scale;
    small(rows, outputs, rank, {low, rank, 1}, {adapter.b, outputs, 1}, c, ldc);
    end.accumulate = true;
  }
  multiply(rows, outputs, inputs, {a, inputs, 1}, w->plain(), c, ldc, end);
}

struct Decode {
  static constexpr const char* name = "MinillmDecode";
  // windows [L]: how many slots back a layer looks, 0 for all. keys and values: [B * Hkv * slots, Dh] of each layer. In the place of
  // a parameter of 16 bits params has something empty, and halves has it; kinds [P, 2]: what it is and its columns (weights.h), [0]
  // where all are float.
  static constexpr const char* inputs[] = {"ids: int32", "positions: int32",  "cos: float",        "sin: float",
                                           "windows: int32", "keys: L * float", "values: L * float", "params: P * float",
                                           "halves: H * int32", "kinds: int32"};
  static constexpr const char* outputs[] = {"hidden: float"};
  static constexpr const char* attrs[] = {"L: int >= 1", "P: int >= 1", "heads: int", "kv_heads: int", "eps: float", "H: int >= 0"};
  static void run(Call& call) {
    const int layers = static_cast<int>(call.attrs.ints[0]), count = static_cast<int>(call.attrs.ints[1]);
    const Tensor ids = call.in(0), positions = call.in(1), cos = call.in(2), sin = call.in(3), windows = call.in(4);
    const int halves = static_cast<int>(call.attrs.ints[5]), lists = 5 + 2 * layers + count;
    const Tensor kinds = call.in(lists + halves);
    std::vector<Tensor> keys, values;
    std::vector<Weights> params;
    for (int l = 0; l < layers; l++) keys.push_back(call.in(5 + l));
    for (int l = 0; l < layers; l++) values.push_back(call.in(5 + layers + l));
    bool whole = kinds.size() == (halves > 0 ? 2 * count : 0);
    for (int i = 0, next = 0; whole && i < count; i++) {
      const int32_t* kind = kinds.ints() + 2 * i;
      const bool half = halves > 0 && kind[0] != 0;
      whole = !half || next < halves;
      if (whole) params.emplace_back(call.in(half ? lists + next++ : 5 + 2 * layers + i), half ? kind[0] : 0, half ? kind[1] : 0);
    }
    const int plain = SHARED + layers * OF_BLOCK;
    const bool adapted = count == plain + layers * 2 * OF_MAPS + 1;
    if (!call.expect(whole && (count == plain || adapted) && windows.size() == layers, "Decode: too few or too many tensors"))
      return;
    const Weights &tokens = params[TOKENS], &places = params[PLACES];
    const auto block = [&](int l) { return params.data() + SHARED + l * OF_BLOCK; };
    const Sizes s{ids.size(), tokens.cols(), call.attrs.ints[2], call.attrs.ints[3], keys[0].cols(), block(0)[UP].cols()};
    const int64_t pairs = s.batch * s.kvHeads, slots = pairs > 0 ? keys[0].rows() / pairs : 0, half = s.headWidth / 2;
    bool fit = s.heads > 0 && s.kvHeads > 0 && s.heads % s.kvHeads == 0 && inside(ids, s.batch, tokens.rows()) &&
               inside(positions, s.batch, slots) && (cos.size() == 0 || cos.size() == s.batch * half) &&
               sin.size() == cos.size() && params[LAST_GAIN].size() == s.width &&
               (params[LAST_BIAS].size() == 0 || params[LAST_BIAS].size() == s.width) &&
               (places.size() == 0 || (places.cols() == s.width && places.fit() && inside(positions, s.batch, places.rows()))) && tokens.fit();
    std::vector<Adapter> adapters(layers * OF_MAPS);
    if (adapted) fit = fit && params[count - 1].size() == layers * OF_MAPS;
    for (int i = 0; fit && adapted && i < layers * OF_MAPS; i++) {
      const Weights &a = params[plain + 2 * i], &b = params[plain + 2 * i + 1];
      const auto& w = block(i / OF_MAPS)[MAPS[i % OF_MAPS]];
      if (a.size() == 0) continue;
      fit = a.rows() == w.rows() && b.rows() == a.cols() && b.cols() == w.cols();
      adapters[i] = {a.floats(), b.floats(), a.cols(), params[count - 1].floats()[i]};
    }
    for (int l = 0; fit && l < layers; l++)
      fit = s.fit(block(l)) && keys[l].size() == pairs * slots * s.headWidth && values[l].size() == keys[l].size();
    if (!call.expect(fit, "Decode: the shapes, ids or positions do not fit")) return;
    const Tensor hidden = call.out(0, {s.batch, s.width});
    const float eps = call.attrs.floats[4];

    thread_local Scratch scratch;
    const int64_t together = s.q() + 2 * s.kv();
    float* x = scratch.floats(s.batch * (3 * s.width + together + s.q() + 2 * s.inner));
    float *y = x + s.batch * s.width, *h = y + s.batch * s.width, *qkv = h + s.batch * s.width;
    float *attended = qkv + s.batch * together, *inner = attended + s.batch * s.q(), *gate = inner + s.batch * s.inner;

    for (int64_t b = 0; b < s.batch; b++) {
      float* row = x + b * s.width;
      tokens.row(ids.ints()[b], row);
      if (places.size() == 0) continue;
      places.row(positions.ints()[b], h);
      for (int64_t i = 0; i < s.width; i++) row[i] += h[i];
    }
    Attending attending{s.batch, s.heads, s.kvHeads, s.headWidth, slots, 0};
    attending.q = qkv, attending.k = qkv + s.q(), attending.v = qkv + s.q() + s.kv();
    attending.qStride = attending.kvStride = together;
    attending.positions = positions.ints(), attending.out = attended;
    attending.cos = orNull(cos), attending.sin = orNull(sin), attending.eps = eps;
    for (int l = 0; l < layers; l++) {
      const Weights* w = block(l);
      const Adapter *adapter = adapters.data() + l * OF_MAPS, *ofQ = adapter, *ofK = adapter + 1, *ofV = adapter + 2;
      const Adapter *ofO = adapter + 3, *ofUp = adapter + 4, *ofGate = adapter + 5, *ofDown = adapter + 6;
      normalise(x, s.batch, s.width, w[GAIN1], w[BIAS1], eps, h);
      affine(s.batch, h, w + Q, qkv, together, *ofQ);
      if (w[K].size() > 0) {
        affine(s.batch, h, w + K, qkv + s.q(), together, *ofK);
        affine(s.batch, h, w + V, qkv + s.q() + s.kv(), together, *ofV);
      }
      attending.window = windows.ints()[l];
      attending.keys = keys[l].floats(), attending.values = values[l].floats();
      attending.qGain = orNull(w[Q_GAIN]), attending.kGain = orNull(w[K_GAIN]);
      attending.run();
      Epilogue end;
      end.residual = x;
      affine(s.batch, attended, w + O, y, s.width, *ofO, end);
      normalise(y, s.batch, s.width, w[GAIN2], w[BIAS2], eps, h);
      end = {};
      end.gelu = w[GATE].size() == 0;
      if (!end.gelu) {
        affine(s.batch, h, w + GATE, gate, s.inner, *ofGate);
        end.gate = gate;
      }
      affine(s.batch, h, w + UP, inner, s.inner, *ofUp, end);
      end = {};
      end.residual = y;
      affine(s.batch, inner, w + DOWN, x, s.width, *ofDown, end);
    }
    normalise(x, s.batch, s.width, params[LAST_GAIN], params[LAST_BIAS], eps, hidden.floats());
  }
};

Register<Decode> decode;

}  // namespace
}  // namespace minillm
