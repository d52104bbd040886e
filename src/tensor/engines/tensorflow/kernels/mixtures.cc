// Divergences of student q and teacher p from their mixture m = cp + (1 - c)q,
//
//   a KL(p‖m) + b KL(q‖m)
//
// and their total variation: a row at a time, while it is in the cache. Kept for the backward pass are the normalisers of
// both rows and the mean under q of the derivative (divergencesMixed.ts has the equations, and k).
#include <cmath>

#include "op.h"
#include "pool.h"
#include "rows.h"
#include "vec.h"

namespace minillm {
namespace {

// ln x within 2 ulp of max(1, |ln x|) for positive normal x: x = 2^n m with m around 1, ln m by a polynomial.
inline vf vlog(vf x) {
  const vi bits = (vi)x;
  vi n = ((bits >> 23) & 0xff) - 126;
  vf m = (vf)((bits & 0x007fffff) | 0x3f000000);  // 1/2 <= m < 1
  const vi small = m < all(0.707106781f);
  n += small;  // true is -1
  m = choose(small, m + m, m) - 1.0f;
  const vf z = m * m;
  vf p = all(7.0376836e-2f);
  p = p * m - 1.1514610e-1f;
  p = p * m + 1.1676999e-1f;
  p = p * m - 1.2420141e-1f;
  p = p * m + 1.4249323e-1f;
  p = p * m - 1.6668058e-1f;
  p = p * m + 2.0000715e-1f;
  p = p * m - 2.4999994e-1f;
  p = p * m + 3.3333331e-1f;
  const vf e = __builtin_convertvector(n, vf);
  return (m + (p * m * z - e * 2.12194440e-4f - 0.5f * z)) + e * 0.693359375f;
}

inline vf vabs(vf x) { return vmax(x, -x); }
inline vf vsign(vf x) { return choose(x > all(0), all(1), choose(x < all(0), all(-1), all(0))); }

enum Kind { MIXTURE, TOTAL_VARIATION };

struct Weights {
  float a, b, c, k;
  int64_t kind;
  explicit Weights(const Attrs& attrs)
      : a(attrs.floats[0]), b(attrs.floats[1]), c(attrs.floats[2]), k(attrs.floats[3]), kind(attrs.ints[4]) {}
  // p ln(p/m), to be weighed by a.
  vf ofTeacher(vf logp, vf logq, vf p) const {
    return choose(p == all(0), all(0), -p * vlog(c + (1 - c) * vexp(logq - logp)));
  }
  // q times the derivative in q (up to a constant), and q ln(q/m), to be weighed by b.
  vf derivative(vf logp, vf logq, vf p, vf q, vf& ofStudent) const {
    if (kind == TOTAL_VARIATION) return 0.5f * q * vsign(q - p);
    const vf mixture = (1 - c) + c * vexp(logp - logq);  // m/q
    ofStudent = choose(q == all(0), all(0), -q * vlog(mixture));
    return choose(q == all(0), all(0), b * ofStudent + k * p / mixture);
  }
};

struct Mixture {
  static constexpr const char* name = "MinillmMixture";
  static constexpr const char* inputs[] = {"student: float", "teacher: float"};
  static constexpr const char* outputs[] = {"y: float", "centre: float", "norms: float"};  // norms [N, 4]
  static constexpr const char* attrs[] = {"a: float", "b: float", "c: float", "k: float", "kind: int"};
  static void run(Call& call) {
    const Tensor student = call.in(0), teacher = call.in(1);
    const Weights w(call.attrs);
    const int64_t rows = student.rows(), width = student.cols();
    if (!call.expect(teacher.size() == student.size(), "Mixture: the shapes differ")) return;
    const Tensor y = call.out(0, {rows}), centre = call.out(1, {rows}), norms = call.out(2, {rows, 4});
    parallelRanges(rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; r++) {
        const float *s = student.floats() + r * width, *t = teacher.floats() + r * width;
        const Normaliser ofS = normaliser(s, width), ofT = normaliser(t, width);
        reinterpret_cast<Normaliser*>(norms.floats())[2 * r] = ofS;
        reinterpret_cast<Normaliser*>(norms.floats())[2 * r + 1] = ofT;
        double value = 0, mean = 0;
        for (int64_t c = 0; c < width; c += CHUNK) {
          vf values = all(0), means = all(0);
          lanes(std::min(CHUNK, width - c), [&](int64_t i, int n) {
            const vf logq = ofS.log(loadAt(s + c + i, n, -INFINITY)), logp = ofT.log(loadAt(t + c + i, n, -INFINITY));
            const vf q = vexp(logq), p = vexp(logp);
            vf ofStudent = all(0);
            means += w.derivative(logp, logq, p, q, ofStudent);
            if (w.kind == TOTAL_VARIATION) values += 0.5f * vabs(p - q);
            else values += w.b * ofStudent + (w.a == 0 ? all(0) : w.a * w.ofTeacher(logp, logq, p));
          });
          value += sum(values);
          mean += sum(means);
        }
        y.floats()[r] = static_cast<float>(value);
        centre.floats()[r] = static_cast<float>(mean);
      }
    });
  }
};

struct MixtureGrad {
  static constexpr const char* name = "MinillmMixtureGrad";
  static constexpr const char* inputs[] = {"dy: float", "student: float", "teacher: float", "centre: float",
                                           "norms: float"};
  static constexpr const char* outputs[] = {"dstudent: float"};
  static constexpr const char* attrs[] = {"a: float", "b: float", "c: float", "k: float", "kind: int"};
  static void run(Call& call) {
    const Tensor dy = call.in(0), student = call.in(1), teacher = call.in(2), centre = call.in(3), norms = call.in(4);
    const Weights w(call.attrs);
    const int64_t rows = student.rows(), width = student.cols();
    if (!call.expect(teacher.size() == student.size() && dy.size() == rows && centre.size() == rows &&
                         norms.size() == 4 * rows,
                     "MixtureGrad: the shapes do not fit"))
      return;
    const Tensor out = call.out(0, {rows, width});
    parallelRanges(rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; r++) {
        const float *s = student.floats() + r * width, *t = teacher.floats() + r * width;
        const Normaliser* of = reinterpret_cast<Normaliser*>(norms.floats()) + 2 * r;
        const float d = dy.floats()[r], mean = centre.floats()[r];
        float* to = out.floats() + r * width;
        lanes(width, [&](int64_t i, int n) {
          const vf logq = of[0].log(loadAt(s + i, n)), logp = of[1].log(loadAt(t + i, n));
          const vf q = vexp(logq), p = vexp(logp);
          vf ofStudent = all(0);
          storeAt(to + i, (w.derivative(logp, logq, p, q, ofStudent) - q * mean) * d, n);
        });
      }
    });
  }
};

Register<Mixture> mixture;
Register<MixtureGrad> mixtureGrad;

}  // namespace
}  // namespace minillm
