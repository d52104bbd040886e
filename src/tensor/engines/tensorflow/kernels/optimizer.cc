// What happens to all parameters at once: the norm of the gradient, sums of gradients, AdamW. One call each, whatever
// the number of parameters.
#include <cmath>

#include "op.h"
#include "pool.h"
#include "vec.h"

namespace minillm {
namespace {

constexpr int64_t PIECE = 1 << 16;  // numbers of a task

struct Piece {
  int tensor;
  int64_t from, size;
};

std::vector<Tensor> take(Call& call, int first, int count) {
  std::vector<Tensor> all;
  for (int i = 0; i < count; i++) all.push_back(call.in(first + i));
  return all;
}

std::vector<Piece> pieces(const std::vector<Tensor>& tensors) {
  std::vector<Piece> all;
  for (size_t t = 0; t < tensors.size(); t++)
    for (int64_t i = 0; i < tensors[t].size(); i += PIECE)
      all.push_back({static_cast<int>(t), i, std::min(PIECE, tensors[t].size() - i)});
  return all;
}

bool sameSizes(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  for (size_t i = 0; i < a.size(); i++)
    if (a[i].size() != b[i].size()) return false;
  return true;
}

struct SquaredNorm {
  static constexpr const char* name = "MinillmSquaredNorm";
  static constexpr const char* inputs[] = {"xs: N * float"};
  static constexpr const char* outputs[] = {"y: float"};
  static constexpr const char* attrs[] = {"N: int >= 1"};
  static void run(Call& call) {
    const std::vector<Tensor> xs = take(call, 0, static_cast<int>(call.attrs.ints[0]));
    const std::vector<Piece> all = pieces(xs);
    std::vector<double> squares(all.size());
    parallel(all.size(), [&](int64_t i) {
      const float* x = xs[all[i].tensor].floats() + all[i].from;
      for (int64_t c = 0; c < all[i].size; c += 1024) {
        vf part = minillm::all(0);
        lanes(std::min<int64_t>(1024, all[i].size - c), [&](int64_t j, int n) {
          const vf v = loadAt(x + c + j, n);
          part += v * v;
        });
        squares[i] += sum(part);
      }
    });
    double total = 0;
    for (double s : squares) total += s;
    call.out(0, {}).floats()[0] = static_cast<float>(total);
  }
};

// ys = totals + weight * xs
struct AddScaled {
  static constexpr const char* name = "MinillmAddScaled";
  static constexpr const char* inputs[] = {"totals: N * float", "xs: N * float", "weight: float"};
  static constexpr const char* outputs[] = {"ys: N * float"};
  static constexpr const char* attrs[] = {"N: int >= 1"};
  static void run(Call& call) {
    const int count = static_cast<int>(call.attrs.ints[0]);
    const std::vector<Tensor> totals = take(call, 0, count), xs = take(call, count, count);
    const Tensor weight = call.in(2 * count);
    if (!call.expect(sameSizes(totals, xs) && weight.size() == 1, "AddScaled: the shapes differ")) return;
    std::vector<Tensor> ys;
    for (int i = 0; i < count; i++) ys.push_back(call.out(i, totals[i].dims()));
    const float w = weight.floats()[0];
    const std::vector<Piece> all = pieces(xs);
    parallel(all.size(), [&](int64_t i) {
      const Piece& p = all[i];
      const float *a = totals[p.tensor].floats() + p.from, *x = xs[p.tensor].floats() + p.from;
      float* y = ys[p.tensor].floats() + p.from;
      lanes(p.size, [&](int64_t j, int n) { storeAt(y + j, loadAt(a + j, n) + w * loadAt(x + j, n), n); });
    });
  }
};

// p, m and v are overwritten. settings: what the gradient is multiplied by (clipping), step size, beta1, beta2, epsilon.
struct AdamW {
  static constexpr const char* name = "MinillmAdamW";
  static constexpr const char* inputs[] = {"params: N * float", "first: N * float", "second: N * float",
                                           "grads: N * float",  "decay: float",     "settings: float"};
  static constexpr const char* outputs[] = {"done: float"};
  static constexpr const char* attrs[] = {"N: int >= 1"};
  static void run(Call& call) {
    const int count = static_cast<int>(call.attrs.ints[0]);
    const std::vector<Tensor> ps = take(call, 0, count), ms = take(call, count, count), vs = take(call, 2 * count, count),
                              gs = take(call, 3 * count, count);
    const Tensor decay = call.in(4 * count), settings = call.in(4 * count + 1);
    if (!call.expect(sameSizes(ps, ms) && sameSizes(ps, vs) && sameSizes(ps, gs) && decay.size() == count &&
                         settings.size() == 5,
                     "AdamW: the shapes differ"))
      return;
    const float *s = settings.floats(), scale = s[0], rate = s[1], beta1 = s[2], beta2 = s[3], epsilon = s[4];
    const std::vector<Piece> all = pieces(ps);
    parallel(all.size(), [&](int64_t i) {
      const Piece& piece = all[i];
      const float keep = 1 - decay.floats()[piece.tensor];
      float *p = ps[piece.tensor].floats() + piece.from, *m = ms[piece.tensor].floats() + piece.from,
            *v = vs[piece.tensor].floats() + piece.from;
      const float* g = gs[piece.tensor].floats() + piece.from;
      lanes(piece.size, [&](int64_t j, int n) {
        const vf gj = loadAt(g + j, n) * scale, mj = loadAt(m + j, n), vj = loadAt(v + j, n);
        const vf m1 = mj + (gj - mj) * (1 - beta1), v1 = vj + (gj * gj - vj) * (1 - beta2);
        vf root;
        for (int k = 0; k < LANES; k++) root[k] = std::sqrt(v1[k]);
        storeAt(m + j, m1, n);
        storeAt(v + j, v1, n);
        storeAt(p + j, loadAt(p + j, n) * keep - rate * m1 / (root + epsilon), n);
      });
    });
    call.out(0, {}).floats()[0] = 1;
  }
};

Register<SquaredNorm> squaredNorm;
Register<AddScaled> addScaled;
Register<AdamW> adamW;

}  // namespace
}  // namespace minillm
