// The device of the tests: memory of the process, kernels as fibres, products by plain loops. The same functions for JavaScript as
// cuda.cc.
#include "emulator.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

#include "arguments.h"
#include "blocks.h"
#include "fibres.h"

namespace emulator {

dim3 blockIndex, blockSize, gridSize;

namespace {

enum State { READY, AT_BLOCK, AT_WARP, DONE };

struct Thread {
  dim3 index;
  unsigned number;
  State state;
  Fibre fibre;
};

std::map<std::string, Entry>& entries() {
  static std::map<std::string, Entry> all;
  return all;
}
std::vector<std::string> names;
std::vector<Entry> handles;
std::vector<std::unique_ptr<Thread>> threads;
std::vector<unsigned> order;
std::vector<unsigned char> slots, shared;
Thread* current = nullptr;
Home home;
unsigned count = 0, done = 0, atBlock = 0;
std::vector<unsigned> atWarp, doneInWarp;
Entry entry;
void** arguments;
std::mt19937 shuffler;

void wait(State state) {
  current->state = state;
  leave(current->fibre, home);
}

void body() {
  entry(arguments);
  current->state = DONE;
  done++;
  doneInWarp[current->number / 32]++;
  leave(current->fibre, home);
}

void releaseBlock() {
  for (unsigned i = 0; i < count; i++)
    if (threads[i]->state == AT_BLOCK) threads[i]->state = READY;
  atBlock = 0;
}

void runBlock(const std::string& name) {
  done = atBlock = 0;
  std::fill(atWarp.begin(), atWarp.end(), 0);
  std::fill(doneInWarp.begin(), doneInWarp.end(), 0);
  for (unsigned i = 0; i < count; i++) {
    threads[i]->state = READY;
    threads[i]->fibre.prepare(body);
  }
  while (done < count) {
    bool moved = false;
    for (unsigned i : order) {
      Thread& thread = *threads[i];
      if (thread.state != READY) continue;
      moved = true;
      current = &thread;
      enter(home, thread.fibre);
    }
    if (atBlock == count) releaseBlock();
    else if (!moved)
      throw std::runtime_error(name + ": a barrier that not all threads of the block reach (" + std::to_string(atBlock) +
                               " of " + std::to_string(count) + " wait, " + std::to_string(done) + " have ended)");
  }
}

void launch(int handle, dim3 grid, dim3 block, size_t sharedBytes, void** given) {
  const std::string& name = names.at(handle);
  count = block.x * block.y * block.z;
  if (count == 0 || count > 1024) throw std::runtime_error(name + ": a block of " + std::to_string(count) + " threads");
  if (sharedBytes > 227 * 1024) throw std::runtime_error(name + ": more shared memory than a card has");
  entry = handles.at(handle);
  arguments = given;
  blockSize = block;
  gridSize = grid;
  while (threads.size() < count) threads.push_back(std::make_unique<Thread>());
  for (unsigned i = 0; i < count; i++) {
    threads[i]->number = i;
    threads[i]->index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
  }
  slots.resize(count * 8);
  // Rubbish rather than zeros: a kernel that reads what it has not written shows.
  shared.assign(sharedBytes + 16, 0xcd);
  atWarp.assign((count + 31) / 32, 0);
  doneInWarp.assign((count + 31) / 32, 0);
  order.resize(count);
  for (unsigned i = 0; i < count; i++) order[i] = i;
  for (unsigned z = 0; z < grid.z; z++)
    for (unsigned y = 0; y < grid.y; y++)
      for (unsigned x = 0; x < grid.x; x++) {
        blockIndex = {x, y, z};
        std::shuffle(order.begin(), order.end(), shuffler);
        runBlock(name);
      }
}

}  // namespace

dim3& threadIndex() { return current->index; }
unsigned laneOf() { return current->number % 32; }
unsigned char* slot(unsigned lane) { return slots.data() + (current->number / 32 * 32 + lane) * 8; }
void* dynamicShared() { return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(shared.data()) + 15) & ~uintptr_t(15)); }

void blockBarrier() {
  atBlock++;
  wait(AT_BLOCK);
}

void warpBarrier() {
  const unsigned warp = current->number / 32, lanes = std::min(32u, count - warp * 32);
  if (++atWarp[warp] + doneInWarp[warp] == lanes) {
    atWarp[warp] = 0;
    for (unsigned i = warp * 32; i < warp * 32 + lanes; i++)
      if (threads[i]->state == AT_WARP) threads[i]->state = READY;
    return;
  }
  wait(AT_WARP);
}

void add(const char* name, Entry entry) { entries()[name] = entry; }

}  // namespace emulator

namespace minillm {
namespace {

// MINILLM_EMULATOR_MEMORY, bytes: a card that is full; 0 is none.
size_t limit = 0;

extern Blocks blocks;
uint64_t allocate(size_t bytes) {
  if (limit && blocks.inUse + blocks.cached + bytes > limit) return 0;
  return reinterpret_cast<uint64_t>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
}
Blocks blocks(allocate, [](uint64_t at) { std::free(reinterpret_cast<void*>(at)); });

void* pointer(const Arguments& a, size_t i) { return reinterpret_cast<void*>(a.integer(i)); }

napi_value open(Arguments& a) {
  emulator::shuffler.seed(static_cast<unsigned>(a.integer(0)));
  if (const char* bytes = std::getenv("MINILLM_EMULATOR_MEMORY")) limit = std::strtoull(bytes, nullptr, 10);
  napi_value info;
  napi_create_object(a.env, &info);
  put(a.env, info, "name", textOf(a.env, "emulator"));
  put(a.env, info, "architecture", numberOf(a.env, 0));
  put(a.env, info, "multiprocessors", numberOf(a.env, 1));
  put(a.env, info, "totalBytes", numberOf(a.env, static_cast<double>(limit)));
  put(a.env, info, "driver", numberOf(a.env, 0));
  return info;
}

napi_value find(Arguments& a) {
  const std::string name = a.text(0);
  const auto found = emulator::entries().find(name);
  if (found == emulator::entries().end()) throw std::runtime_error("no kernel " + name);
  emulator::names.push_back(name);
  emulator::handles.push_back(found->second);
  return numberOf(a.env, emulator::handles.size() - 1);
}

napi_value alloc(Arguments& a) {
  const size_t bytes = a.integer(0);
  const uint64_t at = blocks.take(bytes);
  std::memset(reinterpret_cast<void*>(at), 0xff, bytes);  // NaN: what is read before it is written shows
  return numberOf(a.env, static_cast<double>(at));
}
napi_value release(Arguments& a) {
  blocks.give(a.integer(0));
  return nullptr;
}
napi_value upload(Arguments& a) {
  size_t size;
  const void* from = a.bytes(1, &size);
  std::memcpy(pointer(a, 0), from, size);
  return nullptr;
}
napi_value download(Arguments& a) {
  size_t size;
  void* to = a.bytes(1, &size);
  std::memcpy(to, pointer(a, 0), size);
  return nullptr;
}
napi_value copy(Arguments& a) {
  std::memcpy(pointer(a, 0), pointer(a, 1), a.integer(2));
  return nullptr;
}
napi_value zero(Arguments& a) {
  std::memset(pointer(a, 0), 0, a.integer(1));
  return nullptr;
}

napi_value launch(Arguments& a) {
  size_t size;
  uint64_t* values = static_cast<uint64_t*>(a.bytes(8, &size));
  std::vector<void*> arguments(size / 8);
  for (size_t i = 0; i < arguments.size(); i++) arguments[i] = values + i;
  const auto at = [&](size_t i) { return static_cast<unsigned>(a.integer(i)); };
  emulator::launch(at(0), {at(1), at(2), at(3)}, {at(4), at(5), at(6)}, a.integer(7), arguments.data());
  return nullptr;
}

// A factor of a product as float32: it is, or it is bfloat16 and widened into `room`.
const float* factor(void* at, int64_t size, bool half, std::vector<float>& room) {
  if (!half) return static_cast<float*>(at);
  room.resize(size);
  for (int64_t i = 0; i < size; i++) {
    const uint32_t bits = static_cast<uint32_t>(static_cast<uint16_t*>(at)[i]) << 16;
    std::memcpy(&room[i], &bits, sizeof bits);
  }
  return room.data();
}

// a, b, y, rows, columns, inner, transposeA, transposeB, bias, residual, batch, strides of a, b, y, leads of a, b, y, precision
napi_value matMul(Arguments& a) {
  const int64_t rows = a.integer(3), columns = a.integer(4), inner = a.integer(5);
  const bool ta = a.integer(6), tb = a.integer(7);
  const float *bias = static_cast<float*>(pointer(a, 8)), *residual = static_cast<float*>(pointer(a, 9));
  const int64_t leadA = a.integer(14), leadB = a.integer(15), leadY = a.integer(16);
  const bool half = a.integer(17) == 2;
  const int64_t batches = a.integer(10), last = batches - 1;
  std::vector<float> roomA, roomB;
  const float* allA = factor(pointer(a, 0), last * a.integer(11) + rows * inner, half, roomA);
  const float* allB = factor(pointer(a, 1), last * a.integer(12) + inner * columns, half, roomB);
  std::vector<double> sums(columns);
  for (int64_t batch = 0; batch < batches; batch++) {
    const float *A = allA + batch * a.integer(11), *B = allB + batch * a.integer(12);
    float* y = static_cast<float*>(pointer(a, 2)) + batch * a.integer(13);
    for (int64_t i = 0; i < rows; i++) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (int64_t k = 0; k < inner; k++) {
        const double x = ta ? A[k * leadA + i] : A[i * leadA + k];
        if (tb)
          for (int64_t j = 0; j < columns; j++) sums[j] += x * B[j * leadB + k];
        else
          for (int64_t j = 0; j < columns; j++) sums[j] += x * B[k * leadB + j];
      }
      for (int64_t j = 0; j < columns; j++)
        y[i * leadY + j] = static_cast<float>(sums[j] + (bias ? bias[j] : 0) + (residual ? residual[i * columns + j] : 0));
    }
  }
  return nullptr;
}

napi_value synchronise(Arguments&) { return nullptr; }

napi_value memory(Arguments& a) {
  napi_value info;
  napi_create_object(a.env, &info);
  put(a.env, info, "inUse", numberOf(a.env, blocks.inUse));
  put(a.env, info, "peak", numberOf(a.env, blocks.peak));
  put(a.env, info, "cached", numberOf(a.env, blocks.cached));
  put(a.env, info, "free", numberOf(a.env, static_cast<double>(limit ? limit - blocks.inUse - blocks.cached : 0)));
  put(a.env, info, "total", numberOf(a.env, static_cast<double>(limit)));
  return info;
}

napi_value trim(Arguments&) {
  blocks.trim();
  return nullptr;
}

napi_value start(napi_env env, napi_value exports) {
  define(env, exports, "open", guarded<open>);
  define(env, exports, "find", guarded<find>);
  define(env, exports, "alloc", guarded<alloc>);
  define(env, exports, "free", guarded<release>);
  define(env, exports, "upload", guarded<upload>);
  define(env, exports, "download", guarded<download>);
  define(env, exports, "copy", guarded<copy>);
  define(env, exports, "zero", guarded<zero>);
  define(env, exports, "launch", guarded<launch>);
  define(env, exports, "matMul", guarded<matMul>);
  define(env, exports, "synchronise", guarded<synchronise>);
  define(env, exports, "memory", guarded<memory>);
  define(env, exports, "trim", guarded<trim>);
  return exports;
}

}  // namespace
}  // namespace minillm

NAPI_MODULE_INIT() { return minillm::start(env, exports); }
