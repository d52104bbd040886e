// The log-probability of one token of each row straight from the states before the head: the logits, rows times vocabulary,
// are in no memory, and only a block of them in a cache.
#include <cmath>
#include <vector>

#include "gemm.h"
#include "op.h"
#include "rows.h"
#include "vec.h"
#include "weights.h"

namespace minillm {
namespace {

// Of a row, over the columns so far: the largest logit, and the sum of exp(x - top).
struct Mass {
  float top = -INFINITY;
  double sum = 0;

  void add(const float* x, int64_t size) {
    const float here = largestOf(x, size);
    if (here == -INFINITY && top == -INFINITY) return;
    if (here > top) {
      sum *= std::exp(static_cast<double>(top) - here);
      top = here;
    }
    sum += massOf(x, size, top);
  }
};

struct HeadLogprob {
  static constexpr const char* name = "MinillmHeadLogprob";
  static constexpr const char* inputs[] = {"states: float", "head: T", "ids: int32"};  // head [D, V], or [V, D]
  static constexpr const char* outputs[] = {"y: float"};
  static constexpr const char* attrs[] = {"transposed: int", "halves: int", "columns: int", "T: {float, int32}"};
  static void run(Call& call) {
    const Tensor states = call.in(0), ids = call.in(2);
    const Weights head(call.in(1), call.attrs.ints[1], call.attrs.ints[2]);
    const bool transposed = call.attrs.ints[0];
    const int64_t rows = states.rows(), width = states.cols(), vocab = transposed ? head.rows() : head.cols();
    bool fit = ids.size() == rows && width > 0 && head.fit() && (transposed ? head.cols() : head.rows()) == width;
    if (!call.expect(fit, "HeadLogprob: the shapes do not fit")) return;
    if (!call.expect(inside(ids, rows, vocab), "HeadLogprob: an id is outside the vocabulary")) return;
    const Tensor y = call.out(0, {rows});
    std::vector<Mass> masses(rows);
    const Matrix b = transposed ? head.transposed() : head.plain();
    multiplyInBlocks(rows, vocab, width, {states.floats(), width, 1}, b,
                     [&](int64_t row, int64_t count, int64_t column, int64_t columns, const float* x, int64_t stride) {
                       for (int64_t r = 0; r < count; r++, x += stride) {
                         masses[row + r].add(x, columns);
                         const int64_t id = ids.ints()[row + r] - column;
                         if (id >= 0 && id < columns) y.floats()[row + r] = x[id];
                       }
                     });
    for (int64_t r = 0; r < rows; r++)
      y.floats()[r] = (y.floats()[r] - masses[r].top) - static_cast<float>(std::log(masses[r].sum));
  }
};

Register<HeadLogprob> headLogprob;

}  // namespace
}  // namespace minillm
