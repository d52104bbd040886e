#include "pool.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#define PAUSE() _mm_pause()
#else
#define PAUSE() std::this_thread::yield()
#endif

namespace minillm {
namespace {

// Kernels follow each other within microseconds: a worker looks for work this long before it sleeps.
constexpr int SPINS = 2000;

class Pool {
 public:
  explicit Pool(int size) {
    // Never joined: at exit the process takes the sleeping workers with it.
    for (int i = 1; i < size; i++) std::thread([this] { work(); }).detach();
    workers = size - 1;
  }

  void run(int64_t count, const std::function<void(int64_t)>& task) {
    std::unique_lock<std::mutex> owner(running, std::try_to_lock);
    if (workers == 0 || count == 1 || !owner.owns_lock()) {
      for (int64_t i = 0; i < count; i++) task(i);
      return;
    }
    // The job is closed and nobody is inside, so its fields may be rewritten.
    job = &task;
    total = count;
    next.store(0);
    open.store(true);
    {
      std::lock_guard<std::mutex> lock(sleeping);
      generation.fetch_add(1);
    }
    if (sleepers.load() > 0) wake.notify_all();
    take();
    // A worker that has not woken up by now is not waited for: on a busy machine that could take long.
    open.store(false);
    // One that holds a piece of the work may have lost its core, which spinning would keep from it.
    for (int i = 0; inside.load() > 0; i++) {
      if (i < SPINS)
        PAUSE();
      else
        std::this_thread::yield();
    }
  }

 private:
  void take() {
    for (int64_t i; (i = next.fetch_add(1)) < total;) (*job)(i);
  }

  void work() {
    for (uint64_t seen = 0;;) {
      for (int i = 0; i < SPINS && generation.load() == seen; i++) PAUSE();
      if (generation.load() == seen) {
        std::unique_lock<std::mutex> lock(sleeping);
        sleepers++;
        wake.wait(lock, [&] { return generation.load() != seen; });
        sleepers--;
      }
      seen = generation.load();
      // First the foot in the door, then the look whether it is open: so the owner cannot change the job meanwhile.
      inside++;
      if (open.load()) take();
      inside--;
    }
  }

  int workers = 0;
  const std::function<void(int64_t)>* job = nullptr;
  int64_t total = 0;
  std::atomic<int64_t> next{0};
  std::atomic<bool> open{false};
  std::atomic<int> inside{0};
  std::atomic<uint64_t> generation{0};
  std::atomic<int> sleepers{0};
  std::mutex running, sleeping;
  std::condition_variable wake;
};

int configured() {
  const char* wanted = std::getenv("TF_NUM_INTRAOP_THREADS");
  const int asked = wanted ? std::atoi(wanted) : 0;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return asked > 0 ? asked : cores > 0 ? cores : 1;
}

}  // namespace

int threads() {
  static const int count = configured();
  return count;
}

void parallel(int64_t count, const std::function<void(int64_t)>& task) {
  static Pool* pool = new Pool(threads());  // never destroyed: workers may outlive static destructors
  pool->run(count, task);
}

}  // namespace minillm
