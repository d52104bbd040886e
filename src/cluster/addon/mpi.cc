// Two processes swap bytes by MPI: what src/cluster/mpi.ts makes everything else of. Only what MPI-3 has, so that Open MPI 4 and 5, MPICH
// and its relatives all do. Everything is called by the main thread.
#include <dlfcn.h>
#include <mpi.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "arguments.h"

namespace minillm {
namespace {

// A send and a receive that are under way. Their arrays are referred to, so that they stay where they are.
struct Swap {
  MPI_Request requests[2];
  napi_ref arrays[2];
  size_t expected;
};
std::map<int64_t, Swap> swaps;
int64_t begun = 0;
bool started = false;

void check(int status, const char* call) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(status, text, &length) != MPI_SUCCESS) length = 0;
  throw std::runtime_error(std::string(call) + ": " + (length > 0 ? std::string(text, length) : "MPI error " + std::to_string(status)));
}

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

napi_value library(Arguments& a) {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  check(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
  return textOf(a.env, std::string(text, static_cast<size_t>(length)));
}

// Node loads an addon's libraries for that addon alone, and MPI's plug-ins look for MPI's functions among everybody's.
void showToPlugins() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&MPI_Init_thread), &info) && info.dli_fname)
    dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
}

// { rank, size }
napi_value init(Arguments& a) {
  showToPlugins();
  int given = 0, rank = 0, size = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &given), "MPI_Init_thread");
  started = true;
  check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank");
  check(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  napi_value info;
  napi_create_object(a.env, &info);
  put(a.env, info, "rank", numberOf(a.env, rank));
  put(a.env, info, "size", numberOf(a.env, size));
  return info;
}

// partner, tag, bytes to go there, bytes to come: the number of the swap
napi_value begin(Arguments& a) {
  const int partner = static_cast<int>(a.integer(0)), tag = static_cast<int>(a.integer(1));
  size_t out = 0, into = 0;
  void *from = a.bytes(2, &out), *to = a.bytes(3, &into);
  if (std::max(out, into) > (size_t{1} << 30)) throw std::runtime_error("more than 1 GiB in one message");
  Swap swap{{MPI_REQUEST_NULL, MPI_REQUEST_NULL}, {nullptr, nullptr}, into};
  check(MPI_Irecv(to, static_cast<int>(into), MPI_BYTE, partner, tag, MPI_COMM_WORLD, &swap.requests[0]), "MPI_Irecv");
  check(MPI_Isend(from, static_cast<int>(out), MPI_BYTE, partner, tag, MPI_COMM_WORLD, &swap.requests[1]), "MPI_Isend");
  for (size_t i = 0; i < 2; i++) swap.arrays[i] = a.reference(2 + i);
  swaps.emplace(++begun, swap);
  return numberOf(a.env, static_cast<double>(begun));
}

// The pause after having waited so long: an eighth of that, so that waiting is hardly longer for it, and no core is burnt by who waits.
void pause(double waited) {
  const double seconds = std::min(std::max(waited / 8, 2e-5), 1e-3);
  const timespec t{0, static_cast<long>(1e9 * seconds)};
  nanosleep(&t, nullptr);
}

// number of a swap, seconds: whether it is over
napi_value wait(Arguments& a) {
  const auto found = swaps.find(a.integer(0));
  if (found == swaps.end()) throw std::runtime_error("no such swap is under way");
  Swap& swap = found->second;
  const double limit = a.number(1), since = now();
  MPI_Status statuses[2];
  for (int over = 0;;) {
    const int status = MPI_Testall(2, swap.requests, &over, statuses);
    if (status == MPI_ERR_IN_STATUS)
      for (const MPI_Status& one : statuses)
        if (one.MPI_ERROR != MPI_ERR_PENDING) check(one.MPI_ERROR, "MPI_Testall");
    check(status, "MPI_Testall");
    if (over) break;
    const double waited = now() - since;
    napi_value no;
    napi_get_boolean(a.env, false, &no);
    if (waited > limit) return no;
    // The partner of a short message may be just about to send it.
    if (waited > 1e-5) pause(waited);
  }
  int came = 0;
  check(MPI_Get_count(&statuses[0], MPI_BYTE, &came), "MPI_Get_count");
  const size_t expected = swap.expected;
  for (napi_ref array : swap.arrays) napi_delete_reference(a.env, array);
  swaps.erase(found);
  if (static_cast<size_t>(came) != expected)
    throw std::runtime_error(std::to_string(came) + " bytes came, " + std::to_string(expected) + " were expected");
  napi_value yes;
  napi_get_boolean(a.env, true, &yes);
  return yes;
}

// address, bytes: that memory as an ArrayBuffer. It stays its owner's.
napi_value memory(Arguments& a) {
  void* const data = reinterpret_cast<void*>(static_cast<uintptr_t>(a.integer(0)));
  napi_value buffer;
  if (napi_create_external_arraybuffer(a.env, data, static_cast<size_t>(a.integer(1)), nullptr, nullptr, &buffer) != napi_ok)
    throw std::runtime_error("memory that is not JavaScript's cannot be looked at");
  return buffer;
}

napi_value finalize(Arguments&) {
  if (started) check(MPI_Finalize(), "MPI_Finalize");
  started = false;
  return nullptr;
}

// exit code
napi_value abort(Arguments& a) {
  const int code = static_cast<int>(a.integer(0));
  if (started) MPI_Abort(MPI_COMM_WORLD, code);
  _exit(code);
}

napi_value start(napi_env env, napi_value exports) {
  define(env, exports, "library", guarded<library>);
  define(env, exports, "init", guarded<init>);
  define(env, exports, "begin", guarded<begin>);
  define(env, exports, "wait", guarded<wait>);
  define(env, exports, "memory", guarded<memory>);
  define(env, exports, "finalize", guarded<finalize>);
  define(env, exports, "abort", guarded<abort>);
  return exports;
}

}  // namespace
}  // namespace minillm

NAPI_MODULE_INIT() { return minillm::start(env, exports); }
