// The card: memory, kernels compiled for it by NVRTC, products by cublasLt, all queued on one stream. Only `download` and
// `synchronise` wait.
#include <algorithm>
#include <cstring>

#include "arguments.h"
#include "blocks.h"
#include "cards.h"
#include "libraries.h"
#include "products.h"

namespace minillm {
namespace {

Driver driver;
Nvrtc nvrtc;
Products products;
CUstream stream;
std::vector<CUmodule> modules;
std::vector<CUfunction> functions;
std::vector<std::string> names;

// Pinned memory that uploads go through, a ring: what was copied into it may still be on its way, so going round waits.
constexpr size_t STAGING = 16 << 20;
unsigned char* staging;
size_t staged = 0;

void check(CUresult status, const std::string& what) {
  if (status == CUDA_SUCCESS) return;
  const char* name = nullptr;
  driver.errorName(status, &name);
  throw std::runtime_error(what + ": " + (name ? name : "CUDA error " + std::to_string(status)));
}

Blocks blocks(
    [](size_t bytes) -> uint64_t {
      CUdeviceptr at = 0;
      const CUresult status = driver.alloc(&at, bytes);
      if (status == CUDA_ERROR_OUT_OF_MEMORY) return 0;
      check(status, "cuMemAlloc of " + std::to_string(bytes) + " bytes");
      return at;
    },
    [](uint64_t at) { check(driver.free(at), "cuMemFree"); });

CUdeviceptr address(const Arguments& a, size_t i) { return static_cast<CUdeviceptr>(a.integer(i)); }

int attribute(CUdevice device, int name) {
  int value = 0;
  check(driver.attribute(&value, device, name), "cuDeviceGetAttribute");
  return value;
}

// nvrtc libraries, cublasLt libraries, device
napi_value open(Arguments& a) {
  driver.load();
  nvrtc.load(a.text(0));
  Lt lt;
  lt.load(a.text(1));
  check(driver.init(0), "cuInit");
  int count = 0;
  check(driver.count(&count), "cuDeviceGetCount");
  const int which = static_cast<int>(a.integer(2));
  if (which >= count) throw std::runtime_error("no CUDA device " + std::to_string(which) + ": there are " + std::to_string(count));
  CUdevice device;
  check(driver.device(&device, which), "cuDeviceGet");
  CUcontext context;
  check(driver.retain(&context, device), "cuDevicePrimaryCtxRetain");
  check(driver.setContext(context), "cuCtxSetCurrent");
  check(driver.stream(&stream, STREAM_NON_BLOCKING), "cuStreamCreate");
  check(driver.allocHost(reinterpret_cast<void**>(&staging), STAGING), "cuMemAllocHost");
  CUdeviceptr workspace;
  check(driver.alloc(&workspace, Products::WORKSPACE), "cuMemAlloc of the workspace of products");
  products.start(lt, workspace);
  char name[256] = "";
  check(driver.name(name, sizeof name, device), "cuDeviceGetName");
  int version = 0, major = 0, minor = 0;
  check(driver.version(&version), "cuDriverGetVersion");
  nvrtc.version(&major, &minor);
  size_t free = 0, total = 0;
  check(driver.memory(&free, &total), "cuMemGetInfo");
  napi_value info;
  napi_create_object(a.env, &info);
  put(a.env, info, "name", textOf(a.env, name));
  put(a.env, info, "architecture",
      numberOf(a.env, 10 * attribute(device, COMPUTE_CAPABILITY_MAJOR) +
                          attribute(device, COMPUTE_CAPABILITY_MINOR)));
  put(a.env, info, "multiprocessors", numberOf(a.env, attribute(device, MULTIPROCESSOR_COUNT)));
  put(a.env, info, "totalBytes", numberOf(a.env, static_cast<double>(total)));
  put(a.env, info, "driver", numberOf(a.env, version));
  put(a.env, info, "nvrtc", numberOf(a.env, 1000 * major + 10 * minor));
  return info;
}

// source, file name, text of common.cuh, architecture: the machine code
napi_value compile(Arguments& a) {
  const std::string source = a.text(0), file = a.text(1), common = a.text(2);
  const std::string architecture = "--gpu-architecture=sm_" + std::to_string(a.integer(3));
  const char *headers[] = {common.c_str()}, *included[] = {"common.cuh"};
  NvrtcHandle program;
  if (nvrtc.create(&program, source.c_str(), file.c_str(), 1, headers, included)) throw std::runtime_error("nvrtcCreateProgram");
  const char* options[] = {architecture.c_str(), "--std=c++17", "--fmad=true"};
  if (nvrtc.compile(program, 3, options)) {
    size_t size = 0;
    nvrtc.logSize(program, &size);
    std::string log(size, 0);
    nvrtc.log(program, &log[0]);
    throw std::runtime_error(file + " does not compile: " + log);
  }
  size_t size = 0;
  if (nvrtc.cubinSize(program, &size)) throw std::runtime_error(file + ": nvrtcGetCUBINSize");
  void* data;
  napi_value array, buffer;
  napi_create_arraybuffer(a.env, size, &data, &buffer);
  if (nvrtc.cubin(program, static_cast<char*>(data))) throw std::runtime_error(file + ": nvrtcGetCUBIN");
  nvrtc.destroy(&program);
  napi_create_typedarray(a.env, napi_uint8_array, size, buffer, 0, &array);
  return array;
}

// machine code: the number of the module
napi_value load(Arguments& a) {
  size_t size;
  const void* cubin = a.bytes(0, &size);
  CUmodule module;
  check(driver.loadModule(&module, cubin), "cuModuleLoadData");
  modules.push_back(module);
  return numberOf(a.env, modules.size() - 1);
}

// name, module: the number of the kernel
napi_value find(Arguments& a) {
  const std::string name = a.text(0);
  CUfunction function;
  check(driver.function(&function, modules.at(a.integer(1)), name.c_str()), "cuModuleGetFunction of " + name);
  functions.push_back(function);
  names.push_back(name);
  return numberOf(a.env, functions.size() - 1);
}

napi_value alloc(Arguments& a) { return numberOf(a.env, static_cast<double>(blocks.take(a.integer(0)))); }
napi_value release(Arguments& a) {
  blocks.give(address(a, 0));
  return nullptr;
}

napi_value upload(Arguments& a) {
  size_t size;
  const unsigned char* from = static_cast<unsigned char*>(a.bytes(1, &size));
  CUdeviceptr to = address(a, 0);
  while (size > 0) {
    if (staged == STAGING) {
      check(driver.synchronise(stream), "uploading");
      staged = 0;
    }
    const size_t part = std::min(size, STAGING - staged);
    std::memcpy(staging + staged, from, part);
    check(driver.toDevice(to, staging + staged, part, stream), "cuMemcpyHtoDAsync");
    staged += (part + 255) / 256 * 256;
    if (staged > STAGING) staged = STAGING;
    from += part, to += part, size -= part;
  }
  return nullptr;
}

napi_value download(Arguments& a) {
  size_t size;
  unsigned char* to = static_cast<unsigned char*>(a.bytes(1, &size));
  CUdeviceptr from = address(a, 0);
  check(driver.synchronise(stream), "waiting for the device");
  staged = 0;
  while (size > 0) {
    const size_t part = std::min(size, STAGING);
    check(driver.toHost(staging, from, part, stream), "cuMemcpyDtoHAsync");
    check(driver.synchronise(stream), "waiting for the device");
    std::memcpy(to, staging, part);
    from += part, to += part, size -= part;
  }
  return nullptr;
}

napi_value copy(Arguments& a) {
  check(driver.within(address(a, 0), address(a, 1), a.integer(2), stream), "cuMemcpyDtoDAsync");
  return nullptr;
}
napi_value zero(Arguments& a) {
  check(driver.set8(address(a, 0), 0, a.integer(1), stream), "cuMemsetD8Async");
  return nullptr;
}

napi_value launch(Arguments& a) {
  const size_t kernel = a.integer(0);
  size_t size;
  uint64_t* values = static_cast<uint64_t*>(a.bytes(8, &size));
  void* arguments[32];
  const size_t count = std::min<size_t>(size / 8, 32);
  for (size_t i = 0; i < count; i++) arguments[i] = values + i;
  const auto at = [&](size_t i) { return static_cast<unsigned>(a.integer(i)); };
  const unsigned shared = at(7);
  CUfunction f = functions.at(kernel);
  if (shared > 48 * 1024)
    check(driver.functionAttribute(f, MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(shared)),
          names[kernel] + ": " + std::to_string(shared) + " bytes of shared memory");
  const CUresult status = driver.launch(f, at(1), at(2), at(3), at(4), at(5), at(6), shared, stream, arguments, nullptr);
  if (status != CUDA_SUCCESS)
    check(status, names[kernel] + " on [" + std::to_string(at(1)) + ", " + std::to_string(at(2)) + ", " + std::to_string(at(3)) +
                      "] blocks of [" + std::to_string(at(4)) + ", " + std::to_string(at(5)) + ", " + std::to_string(at(6)) + "]");
  return nullptr;
}

napi_value matMul(Arguments& a) {
  Product p;
  p.a = address(a, 0), p.b = address(a, 1), p.y = address(a, 2);
  p.rows = a.integer(3), p.columns = a.integer(4), p.inner = a.integer(5);
  p.transposeA = a.integer(6), p.transposeB = a.integer(7);
  p.bias = address(a, 8), p.residual = address(a, 9);
  p.batch = a.integer(10), p.strideA = a.integer(11), p.strideB = a.integer(12), p.strideY = a.integer(13);
  p.leadA = a.integer(14), p.leadB = a.integer(15), p.leadY = a.integer(16);
  p.precision = static_cast<Precision>(a.integer(17));
  products.run(p, stream);
  return nullptr;
}

napi_value synchronise(Arguments&) {
  check(driver.synchronise(stream), "waiting for the device");
  staged = 0;
  return nullptr;
}

napi_value memory(Arguments& a) {
  size_t free = 0, total = 0;
  check(driver.memory(&free, &total), "cuMemGetInfo");
  napi_value info;
  napi_create_object(a.env, &info);
  put(a.env, info, "inUse", numberOf(a.env, blocks.inUse));
  put(a.env, info, "peak", numberOf(a.env, blocks.peak));
  put(a.env, info, "cached", numberOf(a.env, blocks.cached));
  put(a.env, info, "free", numberOf(a.env, static_cast<double>(free)));
  put(a.env, info, "total", numberOf(a.env, static_cast<double>(total)));
  return info;
}

napi_value trim(Arguments&) {
  check(driver.synchronise(stream), "waiting for the device");
  blocks.trim();
  return nullptr;
}

napi_value start(napi_env env, napi_value exports) {
  define(env, exports, "cards", guarded<cards>);
  define(env, exports, "open", guarded<open>);
  define(env, exports, "compile", guarded<compile>);
  define(env, exports, "load", guarded<load>);
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
