// Log-probabilities and divergences over the vocabulary: a row at a time, while it is in the cache. Kept for the backward
// pass are two numbers of each row: its largest logit and ln sum exp of what the others fall short of it. Added up they would
// lose the digits that large logits have no room for.
#include <cmath>

#include "op.h"
#include "pool.h"
#include "rows.h"
#include "vec.h"

namespace minillm {
namespace {

struct TokenLogprob {
  static constexpr const char* name = "MinillmTokenLogprob";
  static constexpr const char* inputs[] = {"logits: float", "ids: int32"};
  static constexpr const char* outputs[] = {"y: float", "norms: float"};  // norms [N, 2]
  static constexpr const char* attrs[] = {""};
  static void run(Call& call) {
    const Tensor logits = call.in(0), ids = call.in(1);
    const int64_t rows = logits.rows(), width = logits.cols();
    if (!call.expect(inside(ids, rows, width), "TokenLogprob: an id is outside the vocabulary")) return;
    const Tensor y = call.out(0, {rows}), norms = call.out(1, {rows, 2});
    parallelRanges(rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; r++) {
        const float* x = logits.floats() + r * width;
        const Normaliser norm = normaliser(x, width);
        reinterpret_cast<Normaliser*>(norms.floats())[r] = norm;
        y.floats()[r] = (x[ids.ints()[r]] - norm.top) - norm.logMass;
      }
    });
  }
};

struct TokenLogprobGrad {
  static constexpr const char* name = "MinillmTokenLogprobGrad";
  static constexpr const char* inputs[] = {"dy: float", "logits: float", "ids: int32", "norms: float"};
  static constexpr const char* outputs[] = {"dlogits: float"};
  static constexpr const char* attrs[] = {""};
  static void run(Call& call) {
    const Tensor dy = call.in(0), logits = call.in(1), ids = call.in(2), norms = call.in(3);
    const int64_t rows = logits.rows(), width = logits.cols();
    const bool fit = inside(ids, rows, width) && dy.size() == rows && norms.size() == 2 * rows;
    if (!call.expect(fit, "TokenLogprobGrad: the shapes do not fit")) return;
    const Tensor dlogits = call.out(0, {rows, width});
    parallelRanges(rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; r++) {
        const float *x = logits.floats() + r * width, d = dy.floats()[r];
        const Normaliser norm = reinterpret_cast<Normaliser*>(norms.floats())[r];
        float* out = dlogits.floats() + r * width;
        lanes(width, [&](int64_t i, int n) { storeAt(out + i, vexp(norm.log(loadAt(x + i, n))) * -d, n); });
        out[ids.ints()[r]] += d;
      }
    });
  }
};

// Divergences of student q and teacher p: 0 reverse KL, 1 forward KL, 2 cross entropy to the teacher.
enum Kind { REVERSE, FORWARD, SOFT_CROSS_ENTROPY };

struct Divergence {
  static constexpr const char* name = "MinillmDivergence";
  static constexpr const char* inputs[] = {"student: float", "teacher: float"};
  // norms [N, 6]: of student and teacher; a and y - a, where a is the log-ratio at the student's likeliest token: the reverse
  // KL is a + sum q (ln q - ln p - a), and where that token has nearly all of q, nothing large is left in the sum to round.
  static constexpr const char* outputs[] = {"y: float", "norms: float"};
  static constexpr const char* attrs[] = {"kind: int"};
  static void run(Call& call) {
    const Tensor student = call.in(0), teacher = call.in(1);
    const int64_t kind = call.attrs.ints[0], rows = student.rows(), width = student.cols();
    if (!call.expect(teacher.size() == student.size(), "Divergence: the shapes differ")) return;
    const Tensor y = call.out(0, {rows}), norms = call.out(1, {rows, 6});
    parallelRanges(rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; r++) {
        const float *s = student.floats() + r * width, *t = teacher.floats() + r * width;
        const Normaliser of[2] = {normaliser(s, width), normaliser(t, width)};
        float around = 0;
        if (kind == REVERSE) {
          const int64_t likeliest = std::find(s, s + width, of[0].top) - s;
          // No token is the likeliest where a logit is NaN.
          if (likeliest < width) around = -of[0].logMass - ((t[likeliest] - of[1].top) - of[1].logMass);
          if (!std::isfinite(around)) around = 0;
        }
        const double rest = sumRow(width, [&](int64_t i, int n) {
          const v8 logq = of[0].log(loadAt(s + i, n, -INFINITY)), logp = of[1].log(loadAt(t + i, n, -INFINITY));
          const v8 weight = vexp(kind == REVERSE ? logq : logp);
          const v8 term = kind == REVERSE ? logq - logp - around : kind == FORWARD ? logp - logq : -logq;
          return choose(weight == all(0), all(0), weight * term);  // 0 times infinity is 0 here
        });
        y.floats()[r] = static_cast<float>(around + rest);
        float* kept = norms.floats() + 6 * r;
        std::memcpy(kept, of, sizeof of);
        kept[4] = around;
        kept[5] = static_cast<float>(rest);
      }
    });
  }
};

struct DivergenceGrad {
  static constexpr const char* name = "MinillmDivergenceGrad";
  static constexpr const char* inputs[] = {"dy: float", "student: float", "teacher: float", "y: float", "norms: float"};
  static constexpr const char* outputs[] = {"dstudent: float"};
  static constexpr const char* attrs[] = {"kind: int"};
  static void run(Call& call) {
    const Tensor dy = call.in(0), student = call.in(1), teacher = call.in(2), y = call.in(3), norms = call.in(4);
    const int64_t kind = call.attrs.ints[0], rows = student.rows(), width = student.cols();
    if (!call.expect(teacher.size() == student.size() && dy.size() == rows && y.size() == rows && norms.size() == 6 * rows,
                     "DivergenceGrad: the shapes do not fit"))
      return;
    const Tensor out = call.out(0, {rows, width});
    parallelRanges(rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; r++) {
        const float *s = student.floats() + r * width, *t = teacher.floats() + r * width;
        Normaliser of[2];
        const float* kept = norms.floats() + 6 * r;
        std::memcpy(of, kept, sizeof of);
        const float d = dy.floats()[r], around = kept[4], rest = kept[5];
        float* to = out.floats() + r * width;
        lanes(width, [&](int64_t i, int n) {
          const v8 logq = of[0].log(loadAt(s + i, n)), logp = of[1].log(loadAt(t + i, n)), q = vexp(logq);
          const v8 slope = kind == REVERSE ? choose(q == all(0), all(0), q * (logq - logp - around - rest)) : q - vexp(logp);
          storeAt(to + i, slope * d, n);
        });
      }
    });
  }
};

Register<TokenLogprob> tokenLogprob;
Register<TokenLogprobGrad> tokenLogprobGrad;
Register<Divergence> divergence;
Register<DivergenceGrad> divergenceGrad;

}  // namespace
}  // namespace minillm
