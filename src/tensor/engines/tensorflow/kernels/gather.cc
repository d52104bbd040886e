// Rows of a matrix, and the way back: the rows of a gradient added up where they came from.
#include <algorithm>
#include <cstring>

#include "op.h"
#include "pool.h"
#include "rows.h"
#include "weights.h"

namespace minillm {
namespace {

constexpr int64_t GRAIN = 16;  // rows

struct GatherRows {
  static constexpr const char* name = "MinillmGatherRows";
  static constexpr const char* inputs[] = {"x: T", "rows: int32"};
  static constexpr const char* outputs[] = {"y: float"};
  static constexpr const char* attrs[] = {"halves: int", "columns: int", "T: {float, int32}"};
  static void run(Call& call) {
    const Tensor rows = call.in(1);
    const Weights x(call.in(0), call.attrs.ints[0], call.attrs.ints[1]);
    const int64_t count = rows.size(), width = x.cols();
    if (!call.expect(x.fit() && inside(rows, count, x.rows()), "GatherRows: a row is not in the matrix")) return;
    const Tensor y = call.out(0, {count, width});
    parallelRanges(count, GRAIN, [&](int64_t from, int64_t to) {
      for (int64_t n = from; n < to; n++) x.row(rows.ints()[n], y.floats() + n * width);
    });
  }
};

// y[r] = the sum of the dy[n] with rows[n] = r, from the first to the last.
struct GatherRowsGrad {
  static constexpr const char* name = "MinillmGatherRowsGrad";
  static constexpr const char* inputs[] = {"dy: float", "rows: int32"};
  static constexpr const char* outputs[] = {"dx: float"};
  static constexpr const char* attrs[] = {"count: int"};
  static void run(Call& call) {
    const Tensor dy = call.in(0), rows = call.in(1);
    const int64_t count = call.attrs.ints[0], width = dy.cols();
    if (!call.expect(inside(rows, dy.rows(), count), "GatherRowsGrad: a row is not in the matrix")) return;
    const Tensor dx = call.out(0, {count, width});
    // A task owns some rows of the result, and looks for what belongs there.
    parallelRanges(count, GRAIN, [&](int64_t from, int64_t to) {
      std::fill_n(dx.floats() + from * width, (to - from) * width, 0.f);
      for (int64_t n = 0; n < rows.size(); n++) {
        const int64_t row = rows.ints()[n];
        if (row < from || row >= to) continue;
        addRow(dy.floats() + n * width, width, dx.floats() + row * width);
      }
    });
  }
};

Register<GatherRows> gatherRows;
Register<GatherRowsGrad> gatherRowsGrad;

}  // namespace
}  // namespace minillm
