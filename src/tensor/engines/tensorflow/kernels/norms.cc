// Layer and root-mean-square normalisation, forward and backward. Only the statistics of a row are kept for the backward
// pass; the normalised row is made again from x.
#include "norms.h"

#include "op.h"
#include "pool.h"
#include "rows.h"
#include "vec.h"

namespace minillm {
namespace {

constexpr int64_t GRAIN = 16;  // rows

// Column sums of what `row` adds for each row into a [2, D] buffer, in blocks of fixed size: the same bits for any number
// of threads.
template <class Row>
void columnSums(int64_t rows, int64_t width, float* gain, float* bias, Row row) {
  constexpr int64_t BLOCK = 64;
  const int64_t blocks = (rows + BLOCK - 1) / BLOCK;
  std::vector<float> partial(blocks * 2 * width, 0.f);
  parallel(blocks, [&](int64_t b) {
    float* to = partial.data() + b * 2 * width;
    for (int64_t r = b * BLOCK; r < std::min(rows, (b + 1) * BLOCK); r++) row(r, to, to + width);
  });
  std::fill(gain, gain + width, 0.f);
  if (bias) std::fill(bias, bias + width, 0.f);
  for (int64_t b = 0; b < blocks; b++) {
    const float* from = partial.data() + b * 2 * width;
    for (int64_t i = 0; i < width; i++) gain[i] += from[i];
    if (bias)
      for (int64_t i = 0; i < width; i++) bias[i] += from[width + i];
  }
}

struct LayerNorm {
  static constexpr const char* name = "MinillmLayerNorm";
  static constexpr const char* inputs[] = {"x: float", "gain: float", "bias: float"};
  static constexpr const char* outputs[] = {"y: float", "stats: float"};  // stats [N, 2]: mean, 1/sqrt(var + eps)
  static constexpr const char* attrs[] = {"eps: float"};
  static void run(Call& call) {
    const Tensor x = call.in(0), gain = call.in(1), bias = call.in(2);
    const int64_t rows = x.rows(), width = x.cols();
    if (!call.expect(gain.size() == width && bias.size() == width, "LayerNorm: gain and bias must be as wide as x"))
      return;
    const Tensor y = call.out(0, {rows, width}), stats = call.out(1, {rows, 2});
    const float eps = call.attrs.floats[0];
    parallelRanges(rows, GRAIN, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; r++) {
        const RowStats of = layerNormRow(x.floats() + r * width, width, gain.floats(), bias.floats(), eps, y.floats() + r * width);
        stats.floats()[2 * r] = of.mean;
        stats.floats()[2 * r + 1] = of.inverse;
      }
    });
  }
};

struct LayerNormGrad {
  static constexpr const char* name = "MinillmLayerNormGrad";
  // residual: what else the gradient of x consists of, where it has that
  static constexpr const char* inputs[] = {"dy: float", "x: float", "gain: float", "stats: float", "residual: float"};
  static constexpr const char* outputs[] = {"dx: float", "dgain: float", "dbias: float"};
  static constexpr const char* attrs[] = {"has_residual: int"};
  static void run(Call& call) {
    const Tensor dy = call.in(0), x = call.in(1), gain = call.in(2), stats = call.in(3), residual = call.in(4);
    const bool hasResidual = call.attrs.ints[0];
    const int64_t rows = x.rows(), width = x.cols();
    if (!call.expect(dy.size() == x.size() && gain.size() == width && stats.size() == 2 * rows &&
                         (!hasResidual || residual.size() == x.size()),
                     "LayerNormGrad: the shapes do not fit"))
      return;
    const Tensor dx = call.out(0, {rows, width}), dgain = call.out(1, {width}), dbias = call.out(2, {width});
    columnSums(rows, width, dgain.floats(), dbias.floats(), [&](int64_t r, float* toGain, float* toBias) {
      const float *d = dy.floats() + r * width, *in = x.floats() + r * width, *g = gain.floats();
      const float mean = stats.floats()[2 * r], inverse = stats.floats()[2 * r + 1];
      vf plain = all(0), along = all(0);
      lanes(width, [&](int64_t i, int n) {
        const vf dyi = loadAt(d + i, n), normal = (loadAt(in + i, n, mean) - mean) * inverse;
        const vf scaled = dyi * loadAt(g + i, n);
        plain += scaled;
        along += scaled * normal;
        storeAt(toGain + i, loadAt(toGain + i, n) + dyi * normal, n);
        storeAt(toBias + i, loadAt(toBias + i, n) + dyi, n);
      });
      const float meanPlain = sum(plain) / width, meanAlong = sum(along) / width;
      float* out = dx.floats() + r * width;
      lanes(width, [&](int64_t i, int n) {
        const vf normal = (loadAt(in + i, n) - mean) * inverse;
        storeAt(out + i, (loadAt(d + i, n) * loadAt(g + i, n) - meanPlain - normal * meanAlong) * inverse, n);
      });
      if (hasResidual) addRow(residual.floats() + r * width, width, out);
    });
  }
};

struct RmsNorm {
  static constexpr const char* name = "MinillmRmsNorm";
  static constexpr const char* inputs[] = {"x: float", "gain: float"};
  static constexpr const char* outputs[] = {"y: float", "stats: float"};  // stats [N]: 1/sqrt(mean x^2 + eps)
  static constexpr const char* attrs[] = {"eps: float"};
  static void run(Call& call) {
    const Tensor x = call.in(0), gain = call.in(1);
    const int64_t rows = x.rows(), width = x.cols();
    if (!call.expect(gain.size() == width, "RmsNorm: gain must be as wide as x")) return;
    const Tensor y = call.out(0, {rows, width}), stats = call.out(1, {rows});
    const float eps = call.attrs.floats[0];
    parallelRanges(rows, GRAIN, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; r++) {
        stats.floats()[r] = rmsNormRow(x.floats() + r * width, width, gain.floats(), eps, y.floats() + r * width).inverse;
      }
    });
  }
};

struct RmsNormGrad {
  static constexpr const char* name = "MinillmRmsNormGrad";
  static constexpr const char* inputs[] = {"dy: float", "x: float", "gain: float", "stats: float", "residual: float"};
  static constexpr const char* outputs[] = {"dx: float", "dgain: float"};
  static constexpr const char* attrs[] = {"has_residual: int"};
  static void run(Call& call) {
    const Tensor dy = call.in(0), x = call.in(1), gain = call.in(2), stats = call.in(3), residual = call.in(4);
    const bool hasResidual = call.attrs.ints[0];
    const int64_t rows = x.rows(), width = x.cols();
    if (!call.expect(dy.size() == x.size() && gain.size() == width && stats.size() == rows &&
                         (!hasResidual || residual.size() == x.size()),
                     "RmsNormGrad: the shapes do not fit"))
      return;
    const Tensor dx = call.out(0, {rows, width}), dgain = call.out(1, {width});
    columnSums(rows, width, dgain.floats(), nullptr, [&](int64_t r, float* toGain, float*) {
      const float *d = dy.floats() + r * width, *in = x.floats() + r * width, *g = gain.floats();
      const float inverse = stats.floats()[r];
      vf along = all(0);
      lanes(width, [&](int64_t i, int n) {
        const vf dyNormal = loadAt(d + i, n) * (loadAt(in + i, n) * inverse);
        along += dyNormal * loadAt(g + i, n);
        storeAt(toGain + i, loadAt(toGain + i, n) + dyNormal, n);
      });
      const float meanAlong = sum(along) / width;
      float* out = dx.floats() + r * width;
      lanes(width, [&](int64_t i, int n) {
        const vf normal = loadAt(in + i, n) * inverse;
        storeAt(out + i, (loadAt(d + i, n) * loadAt(g + i, n) - normal * meanAlong) * inverse, n);
      });
      if (hasResidual) addRow(residual.floats() + r * width, width, out);
    });
  }
};

Register<LayerNorm> layerNorm;
Register<LayerNormGrad> layerNormGrad;
Register<RmsNorm> rmsNorm;
Register<RmsNormGrad> rmsNormGrad;

}  // namespace
}  // namespace minillm
