// TensorFlow asks malloc for every tensor. glibc gives large ones back to the system at once and takes them anew, and every
// page of them costs a fault: thousands a training step. Here they stay with the process, on pages of 2 MB, so that the
// first touch of a gigabyte costs 500 faults and not 260,000. A setting of the user's own (GLIBC_TUNABLES, MALLOC_*_) is
// left alone.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#if defined(__GLIBC__)
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

constexpr size_t HUGE_PAGE = 2 << 20;

struct KeepPages {
  KeepPages() {
    const char* tunables = std::getenv("GLIBC_TUNABLES");
    if (tunables && std::strstr(tunables, "malloc")) return;
    if (std::getenv("MALLOC_MMAP_MAX_") || std::getenv("MALLOC_TRIM_THRESHOLD_")) return;
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);  // never
    mallopt(M_TOP_PAD, 64 << 20);
    reserve();
  }

  // Grows the heap once, by addresses only, and asks for huge pages there. Where it fails, pages are small: slower, no less.
  static void reserve() {
    const size_t memory = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
    char* const block = static_cast<char*>(std::malloc(memory / 2));
    if (!block) return;
    const uintptr_t from = (reinterpret_cast<uintptr_t>(block) + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    const uintptr_t to = (reinterpret_cast<uintptr_t>(block) + memory / 2) & ~(HUGE_PAGE - 1);
    if (from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
    std::free(block);
  }
} keepPages;

}  // namespace
#endif
