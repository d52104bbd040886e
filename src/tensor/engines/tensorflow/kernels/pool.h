// A small thread pool for loops of known length. TensorFlow's own pool is out of reach of its C interface.
#pragma once
#include <cstdint>
#include <functional>

namespace minillm {

// Threads that a kernel may use: TF_NUM_INTRAOP_THREADS, else all cores. Read once, at the first kernel.
int threads();

// task(0), ..., task(count - 1), spread over the threads, the caller among them; returns when all are done. Which thread
// takes which task is not fixed, so a task must compute the same bits whoever runs it. A call from inside a task, or while
// another kernel holds the pool, runs serially.
void parallel(int64_t count, const std::function<void(int64_t)>& task);

// body(from, to) over [0, size) in pieces of at least `grain`, as many for each thread where there are enough.
template <class Body>
inline void parallelRanges(int64_t size, int64_t grain, Body body) {
  int64_t pieces = size / (grain < 1 ? 1 : grain);
  const int64_t most = 8 * threads();
  pieces = pieces < 1 ? 1 : pieces > most ? most : pieces;
  if (pieces > threads()) pieces -= pieces % threads();
  parallel(pieces, [&](int64_t i) { body(size * i / pieces, size * (i + 1) / pieces); });
}

}  // namespace minillm
