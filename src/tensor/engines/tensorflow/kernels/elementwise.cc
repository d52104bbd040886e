// Activations and the rotary turn, forward and backward: one pass over memory each.
#include "activations.h"
#include "op.h"
#include "pool.h"
#include "rotary.h"
#include "vec.h"

namespace minillm {
namespace {

constexpr int64_t GRAIN = 8192;  // numbers

struct Gelu {
  static constexpr const char* name = "MinillmGelu";
  static constexpr const char* inputs[] = {"x: float"};
  static constexpr const char* outputs[] = {"y: float"};
  static constexpr const char* attrs[] = {""};
  static void run(Call& call) {
    const Tensor x = call.in(0), y = call.out(0, {x.rows(), x.cols()});
    parallelRanges(x.size(), GRAIN, [&](int64_t from, int64_t to) {
      lanes(to - from, [&](int64_t i, int n) {
        storeAt(y.floats() + from + i, minillm::gelu(loadAt(x.floats() + from + i, n)), n);
      });
    });
  }
};

struct GeluGrad {
  static constexpr const char* name = "MinillmGeluGrad";
  static constexpr const char* inputs[] = {"dy: float", "x: float"};
  static constexpr const char* outputs[] = {"dx: float"};
  static constexpr const char* attrs[] = {""};
  static void run(Call& call) {
    const Tensor dy = call.in(0), x = call.in(1);
    if (!call.expect(dy.size() == x.size(), "GeluGrad: the shapes differ")) return;
    const Tensor dx = call.out(0, {x.rows(), x.cols()});
    parallelRanges(x.size(), GRAIN, [&](int64_t from, int64_t to) {
      lanes(to - from, [&](int64_t i, int n) {
        const vf slope = geluSlope(loadAt(x.floats() + from + i, n));
        storeAt(dx.floats() + from + i, loadAt(dy.floats() + from + i, n) * slope, n);
      });
    });
  }
};

struct Swiglu {
  static constexpr const char* name = "MinillmSwiglu";
  static constexpr const char* inputs[] = {"gate: float", "up: float"};
  static constexpr const char* outputs[] = {"y: float"};
  static constexpr const char* attrs[] = {""};
  static void run(Call& call) {
    const Tensor gate = call.in(0), up = call.in(1);
    if (!call.expect(gate.size() == up.size(), "Swiglu: the shapes differ")) return;
    const Tensor y = call.out(0, {gate.rows(), gate.cols()});
    parallelRanges(gate.size(), GRAIN, [&](int64_t from, int64_t to) {
      lanes(to - from, [&](int64_t i, int n) {
        const vf g = loadAt(gate.floats() + from + i, n);
        storeAt(y.floats() + from + i, g * vsigmoid(g) * loadAt(up.floats() + from + i, n), n);
      });
    });
  }
};

struct SwigluGrad {
  static constexpr const char* name = "MinillmSwigluGrad";
  static constexpr const char* inputs[] = {"dy: float", "gate: float", "up: float"};
  static constexpr const char* outputs[] = {"dgate: float", "dup: float"};
  static constexpr const char* attrs[] = {""};
  static void run(Call& call) {
    const Tensor dy = call.in(0), gate = call.in(1), up = call.in(2);
    if (!call.expect(gate.size() == up.size() && dy.size() == up.size(), "SwigluGrad: the shapes differ")) return;
    const Tensor dgate = call.out(0, {gate.rows(), gate.cols()}), dup = call.out(1, {gate.rows(), gate.cols()});
    parallelRanges(gate.size(), GRAIN, [&](int64_t from, int64_t to) {
      lanes(to - from, [&](int64_t i, int n) {
        const vf g = loadAt(gate.floats() + from + i, n), d = loadAt(dy.floats() + from + i, n);
        const vf s = vsigmoid(g), silu = g * s;
        storeAt(dup.floats() + from + i, d * silu, n);
        storeAt(dgate.floats() + from + i, d * loadAt(up.floats() + from + i, n) * s * (1.0f + g - silu), n);
      });
    });
  }
};

// y = x turned by the angle of each row and frequency; `sign` -1 turns back, which is the gradient.
struct Rotary {
  static constexpr const char* name = "MinillmRotary";
  static constexpr const char* inputs[] = {"x: float", "cos: float", "sin: float"};
  static constexpr const char* outputs[] = {"y: float"};
  static constexpr const char* attrs[] = {"heads: int", "sign: int"};
  static void run(Call& call) {
    const Tensor x = call.in(0), cos = call.in(1), sin = call.in(2);
    const int64_t heads = call.attrs.ints[0], rows = x.rows(), half = cos.cols();
    const float sign = static_cast<float>(call.attrs.ints[1]);
    if (!call.expect(x.cols() == heads * 2 * half && cos.size() == rows * half && sin.size() == rows * half,
                     "Rotary: the shapes do not fit"))
      return;
    const Tensor y = call.out(0, {rows, x.cols()});
    parallelRanges(rows, 16, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; r++) {
        const float *c = cos.floats() + r * half, *s = sin.floats() + r * half;
        for (int64_t h = 0; h < heads; h++) {
          turnHead(x.floats() + (r * heads + h) * 2 * half, half, c, s, sign, y.floats() + (r * heads + h) * 2 * half);
        }
      }
    });
  }
};

Register<Gelu> geluOp;
Register<GeluGrad> geluGradOp;
Register<Swiglu> swigluOp;
Register<SwigluGrad> swigluGradOp;
Register<Rotary> rotaryOp;

}  // namespace
}  // namespace minillm
