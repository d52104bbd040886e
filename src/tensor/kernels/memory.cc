// TensorFlow asks malloc for every tensor. glibc gives large ones back to the system at once and takes them anew, and every
// page of them costs a fault: thousands a training step. Kept in the process instead, they cost nothing. A setting of the
// user's own (GLIBC_TUNABLES, MALLOC_*_) is left alone.
#include <cstdlib>
#include <cstring>
#if defined(__GLIBC__)
#include <malloc.h>

namespace {

struct KeepPages {
  KeepPages() {
    const char* tunables = std::getenv("GLIBC_TUNABLES");
    if (tunables && std::strstr(tunables, "malloc")) return;
    if (std::getenv("MALLOC_MMAP_MAX_") || std::getenv("MALLOC_TRIM_THRESHOLD_")) return;
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 64 << 20);
  }
} keepPages;

}  // namespace
#endif
