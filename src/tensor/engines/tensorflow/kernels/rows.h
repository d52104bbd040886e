// Sums and maxima of a row, and the log-softmax of a row of logits.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "vec.h"

namespace minillm {

// Numbers summed in float32 before they go into a float64 sum: a vocabulary of 150,000 loses no digits.
constexpr int64_t CHUNK = 1024;

template <class Term>
double sumRow(int64_t size, Term term) {
  double total = 0;
  for (int64_t c = 0; c < size; c += CHUNK) {
    v8 part = all(0);
    lanes(std::min(CHUNK, size - c), [&](int64_t i, int n) { part += term(c + i, n); });
    total += sum(part);
  }
  return total;
}

// A loop of its own, as well after one that makes the row: there the compiler would round once for product and sum, and these
// are the bits of a sum by itself.
inline void addRow(const float* more, int64_t width, float* to) {
  lanes(width, [&](int64_t i, int n) { storeAt(to + i, loadAt(to + i, n) + loadAt(more + i, n), n); });
}

struct Normaliser {
  float top, logMass;
  v8 log(v8 x) const { return (x - top) - logMass; }
};

inline float largestOf(const float* x, int64_t size) {
  v8 most = all(-INFINITY);
  lanes(size, [&](int64_t i, int n) { most = vmax(most, loadAt(x + i, n, -INFINITY)); });
  return largest(most);
}

// The sum of exp(x - top).
inline double massOf(const float* x, int64_t size, float top) {
  return sumRow(size, [&](int64_t i, int n) { return vexp(loadAt(x + i, n, -INFINITY) - top); });
}

inline Normaliser normaliser(const float* x, int64_t size) {
  const float top = largestOf(x, size);
  return {top, static_cast<float>(std::log(massOf(x, size, top)))};
}

}  // namespace minillm
