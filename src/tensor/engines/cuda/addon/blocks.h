// Device memory that is given out, kept when freed, and given out again: on one stream a freed block needs no event before its
// next use, because that use is queued behind the last one.
#pragma once
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace minillm {

class Blocks {
 public:
  // allocate gives 0 where there is no memory left; release gives a block back for good.
  using Allocate = uint64_t (*)(size_t);
  using Release = void (*)(uint64_t);
  Blocks(Allocate allocate, Release release) : allocate(allocate), release(release) {}

  uint64_t take(size_t bytes) {
    const size_t size = rounded(bytes);
    std::vector<uint64_t>& free = kept[size];
    uint64_t at = 0;
    if (!free.empty()) {
      at = free.back();
      free.pop_back();
      cached -= size;
    } else {
      at = allocate(size);
      if (at == 0) {
        trim();
        at = allocate(size);
      }
      if (at == 0)
        throw std::runtime_error("out of device memory: " + mib(bytes) + " asked for, " + mib(inUse) +
                                 " in use; lower train.micro_batch_size, rollout.batch_size or data.max_tokens (elsewhere "
                                 "--batch-size), or set train.gradient_checkpointing");
    }
    sizes[at] = size;
    inUse += size;
    if (inUse > peak) peak = inUse;
    return at;
  }

  void give(uint64_t at) {
    const auto found = sizes.find(at);
    if (found == sizes.end()) throw std::runtime_error("free: no block begins at this address");
    const size_t size = found->second;
    sizes.erase(found);
    kept[size].push_back(at);
    inUse -= size;
    cached += size;
  }

  void trim() {
    for (auto& entry : kept)
      for (uint64_t at : entry.second) release(at);
    kept.clear();
    cached = 0;
  }

  size_t inUse = 0, peak = 0, cached = 0;

 private:
  // Eighths of the power of two below: at most an eighth is lost, and batches of similar length share blocks.
  static size_t rounded(size_t bytes) {
    size_t step = 512;
    while (step * 16 <= bytes) step *= 2;
    return bytes == 0 ? step : (bytes + step - 1) / step * step;
  }
  static std::string mib(size_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

  Allocate allocate;
  Release release;
  std::map<size_t, std::vector<uint64_t>> kept;
  std::unordered_map<uint64_t, size_t> sizes;
};

}  // namespace minillm
