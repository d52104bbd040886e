// The driver, NVRTC and cublasLt, found at run time: nothing of CUDA is linked, so that the addon builds and loads anywhere, and says
// in one line what is missing.
#pragma once
#include <dlfcn.h>
#include <glob.h>

#include <stdexcept>
#include <string>

#include "declarations.h"

namespace minillm {

class Library {
 public:
  // The first of `names` (separated by '|') that loads.
  void load(const std::string& names, const char* what) {
    std::string said;
    for (size_t from = 0; from <= names.size();) {
      size_t to = names.find('|', from);
      if (to == std::string::npos) to = names.size();
      handle = dlopen(names.substr(from, to - from).c_str(), RTLD_NOW | RTLD_GLOBAL);
      if (handle) return;
      if (const char* error = dlerror()) said = error;
      from = to + 1;
    }
    throw std::runtime_error(std::string(what) + " does not load: " + said);
  }
  template <class F>
  void find(F& f, const char* name) {
    f = reinterpret_cast<F>(dlsym(handle, name));
    if (!f) throw std::runtime_error(std::string(name) + " is not in the library");
  }

 private:
  void* handle = nullptr;
};

// NVRTC opens its builtins by bare name and does not look beside itself: what is loaded already is found by that name. `path` is NVRTC's.
inline void loadBuiltins(const std::string& path) {
  const size_t end = path.rfind('/');
  if (end == std::string::npos) return;
  glob_t found;
  if (glob((path.substr(0, end) + "/libnvrtc-builtins.so*").c_str(), 0, nullptr, &found) == 0)
    for (size_t i = 0; i < found.gl_pathc; i++) dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_GLOBAL);
  globfree(&found);
}

// NVRTC's own header is not in every wheel; these have not changed since CUDA 11.
typedef struct NvrtcProgram* NvrtcHandle;
struct Nvrtc {
  int (*create)(NvrtcHandle*, const char*, const char*, int, const char* const*, const char* const*);
  int (*compile)(NvrtcHandle, int, const char* const*);
  int (*cubinSize)(NvrtcHandle, size_t*);
  int (*cubin)(NvrtcHandle, char*);
  int (*logSize)(NvrtcHandle, size_t*);
  int (*log)(NvrtcHandle, char*);
  int (*destroy)(NvrtcHandle*);
  int (*version)(int*, int*);
  void load(const std::string& names) {
    Library l;
    loadBuiltins(names);
    l.load(names, "NVRTC (libnvrtc)");
    l.find(create, "nvrtcCreateProgram");
    l.find(compile, "nvrtcCompileProgram");
    l.find(cubinSize, "nvrtcGetCUBINSize");
    l.find(cubin, "nvrtcGetCUBIN");
    l.find(logSize, "nvrtcGetProgramLogSize");
    l.find(log, "nvrtcGetProgramLog");
    l.find(destroy, "nvrtcDestroyProgram");
    l.find(version, "nvrtcVersion");
  }
};

// What asks the driver about cards without opening one.
struct Cards {
  CUresult (*init)(unsigned);
  CUresult (*version)(int*);
  CUresult (*count)(int*);
  CUresult (*device)(CUdevice*, int);
  CUresult (*name)(char*, int, CUdevice);
  CUresult (*attribute)(int*, int, CUdevice);
  void load(Library& l) {
    l.load("libcuda.so.1", "the NVIDIA driver (libcuda.so.1)");
    l.find(init, "cuInit");
    l.find(version, "cuDriverGetVersion");
    l.find(count, "cuDeviceGetCount");
    l.find(device, "cuDeviceGet");
    l.find(name, "cuDeviceGetName");
    l.find(attribute, "cuDeviceGetAttribute");
  }
};

struct Driver : Cards {
  CUresult (*retain)(CUcontext*, CUdevice);
  CUresult (*setContext)(CUcontext);
  CUresult (*loadModule)(CUmodule*, const void*);
  CUresult (*function)(CUfunction*, CUmodule, const char*);
  CUresult (*functionAttribute)(CUfunction, int, int);
  CUresult (*launch)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void**, void**);
  CUresult (*alloc)(CUdeviceptr*, size_t);
  CUresult (*free)(CUdeviceptr);
  CUresult (*allocHost)(void**, size_t);
  CUresult (*stream)(CUstream*, unsigned);
  CUresult (*synchronise)(CUstream);
  CUresult (*toDevice)(CUdeviceptr, const void*, size_t, CUstream);
  CUresult (*toHost)(void*, CUdeviceptr, size_t, CUstream);
  CUresult (*within)(CUdeviceptr, CUdeviceptr, size_t, CUstream);
  CUresult (*set8)(CUdeviceptr, unsigned char, size_t, CUstream);
  CUresult (*memory)(size_t*, size_t*);
  CUresult (*errorName)(CUresult, const char**);
  void load() {
    Library l;
    Cards::load(l);
    l.find(retain, "cuDevicePrimaryCtxRetain");
    l.find(setContext, "cuCtxSetCurrent");
    l.find(loadModule, "cuModuleLoadData");
    l.find(function, "cuModuleGetFunction");
    l.find(functionAttribute, "cuFuncSetAttribute");
    l.find(launch, "cuLaunchKernel");
    l.find(alloc, "cuMemAlloc_v2");
    l.find(free, "cuMemFree_v2");
    l.find(allocHost, "cuMemAllocHost_v2");
    l.find(stream, "cuStreamCreate");
    l.find(synchronise, "cuStreamSynchronize");
    l.find(toDevice, "cuMemcpyHtoDAsync_v2");
    l.find(toHost, "cuMemcpyDtoHAsync_v2");
    l.find(within, "cuMemcpyDtoDAsync_v2");
    l.find(set8, "cuMemsetD8Async");
    l.find(memory, "cuMemGetInfo_v2");
    l.find(errorName, "cuGetErrorName");
  }
};

struct Lt {
  cublasStatus (*create)(LtHandle*);
  cublasStatus (*matmul)(LtHandle, LtDesc, const void* alpha, const void* a, LtLayout, const void* b, LtLayout, const void* beta,
                         const void* c, LtLayout, void* d, LtLayout, const LtAlgorithm*, void* workspace, size_t, CUstream);
  cublasStatus (*desc)(LtDesc*, int compute, int scale);
  cublasStatus (*descSet)(LtDesc, int, const void*, size_t);
  cublasStatus (*layout)(LtLayout*, int type, uint64_t rows, uint64_t columns, int64_t lead);
  cublasStatus (*layoutSet)(LtLayout, int, const void*, size_t);
  cublasStatus (*preference)(LtPreference*);
  cublasStatus (*preferenceSet)(LtPreference, int, const void*, size_t);
  cublasStatus (*preferenceDestroy)(LtPreference);
  cublasStatus (*heuristic)(LtHandle, LtDesc, LtLayout a, LtLayout b, LtLayout c, LtLayout d, LtPreference, int wanted,
                            LtHeuristic*, int* found);
  void load(const std::string& names) {
    Library l;
    l.load(names, "cublasLt");
    l.find(create, "cublasLtCreate");
    l.find(matmul, "cublasLtMatmul");
    l.find(desc, "cublasLtMatmulDescCreate");
    l.find(descSet, "cublasLtMatmulDescSetAttribute");
    l.find(layout, "cublasLtMatrixLayoutCreate");
    l.find(layoutSet, "cublasLtMatrixLayoutSetAttribute");
    l.find(preference, "cublasLtMatmulPreferenceCreate");
    l.find(preferenceSet, "cublasLtMatmulPreferenceSetAttribute");
    l.find(preferenceDestroy, "cublasLtMatmulPreferenceDestroy");
    l.find(heuristic, "cublasLtMatmulAlgoGetHeuristic");
  }
};

}  // namespace minillm
