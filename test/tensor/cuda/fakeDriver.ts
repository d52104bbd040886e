import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { findCompiler } from '../../../src/tensor/provision/addon.js';

/** Whether a library of a few lines can be made to stand for the NVIDIA driver. */
export const canFake = findCompiler() !== undefined && process.platform === 'linux';
export const whyNot = canFake ? '' : ' [skipped: no C++ compiler on Linux here]';

/**
 * What the addon looks up in the driver. It has as many cards and as much of CUDA as the environment says, gives memory of the
 * process, and computes nothing: whatever is launched leaves memory as it was.
 */
const DRIVER = `#include <cstdlib>
#include <cstring>
using P = unsigned long long;
static int number(const char* name, int other) { const char* s = std::getenv(name); return s ? std::atoi(s) : other; }
extern "C" {
int cuInit(unsigned) { return number("FAKE_CARDS", 1) ? 0 : 100; }
int cuDriverGetVersion(int* v) { *v = number("FAKE_CUDA", 13000); return 0; }
int cuDeviceGetCount(int* n) { *n = number("FAKE_CARDS", 1); return 0; }
int cuDeviceGet(int* d, int i) { *d = i; return 0; }
int cuDeviceGetName(char* s, int n, int i) { std::strncpy(s, "Pretended H200", n); if (i) { char more[] = {' ', '#', char('0' + i), 0}; std::strcat(s, more); } return 0; }
int cuDeviceGetAttribute(int* v, int name, int) { int a = number("FAKE_ARCH", 90); *v = name == 75 ? a / 10 : name == 76 ? a % 10 : 132; return 0; }
int cuDeviceTotalMem_v2(size_t* n, int) { *n = 140000000000; return 0; }
int cuDevicePrimaryCtxRetain(void** c, int) { *c = nullptr; return 0; }
int cuCtxSetCurrent(void*) { return 0; }
int cuModuleLoadData(void** m, const void*) { *m = nullptr; return 0; }
int cuModuleGetFunction(void** f, void*, const char*) { *f = nullptr; return 0; }
int cuFuncSetAttribute(void*, int, int) { return 0; }
int cuLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**) { return 0; }
int cuMemAlloc_v2(P* p, size_t n) { *p = (P)std::calloc(1, n); return *p ? 0 : 2; }
int cuMemFree_v2(P p) { std::free((void*)p); return 0; }
int cuMemAllocHost_v2(void** p, size_t n) { *p = std::malloc(n); return 0; }
int cuStreamCreate(void** s, unsigned) { *s = nullptr; return 0; }
int cuStreamSynchronize(void*) { return 0; }
int cuMemcpyHtoDAsync_v2(P to, const void* from, size_t n, void*) { std::memcpy((void*)to, from, n); return 0; }
int cuMemcpyDtoHAsync_v2(void* to, P from, size_t n, void*) { std::memcpy(to, (void*)from, n); return 0; }
int cuMemcpyDtoDAsync_v2(P to, P from, size_t n, void*) { std::memcpy((void*)to, (void*)from, n); return 0; }
int cuMemsetD8Async(P p, unsigned char v, size_t n, void*) { std::memset((void*)p, v, n); return 0; }
int cuMemGetInfo_v2(size_t* free, size_t* total) { *free = 130000000000; *total = 140000000000; return 0; }
int cuGetErrorName(int, const char** s) { *s = "CUDA_ERROR"; return 0; }
int cuGetExportTable(const void** t, const void*) { *t = nullptr; return 500; }
}
`;

export const BUILTINS = 'libnvrtc-builtins.so.13.0';

/** Functions that succeed and do nothing, but for what a caller reads. */
const same = (names: string[]): string =>
  names.map((name) => `extern "C" int ${name}() { return 0; }`).join('\n');
// As NVRTC does, it opens its builtins by a bare name, which the loader does not find beside it.
const NVRTC = `${same(['Create', 'Destroy'].map((part) => `nvrtc${part}Program`))}
#include <cstddef>
#include <cstring>
#include <dlfcn.h>
extern "C" int nvrtcCompileProgram() { return dlopen("${BUILTINS}", RTLD_NOW) ? 0 : 7; }
${same(['nvrtcGetCUBIN'])}
extern "C" int nvrtcGetProgramLog(void*, char* log) { std::strcpy(log, "no builtins"); return 0; }
extern "C" int nvrtcGetCUBINSize(void*, size_t* n) { *n = 1; return 0; }
extern "C" int nvrtcGetProgramLogSize(void*, size_t* n) { *n = 12; return 0; }
extern "C" int nvrtcVersion(int* major, int* minor) { *major = 13; *minor = 0; return 0; }
`;
const CUBLAS = `${same(
  ['Create', 'Matmul', 'MatmulDescCreate', 'MatmulDescSetAttribute', 'MatrixLayoutCreate']
    .concat(['MatrixLayoutSetAttribute', 'MatmulPreferenceCreate', 'MatmulPreferenceSetAttribute'])
    .concat('MatmulPreferenceDestroy')
    .map((part) => `cublasLt${part}`),
)}
extern "C" int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void*, int* found) { *found = 1; return 0; }
`;

const SOURCES = {
  [BUILTINS]: 'int nothing;',
  'libcuda.so.1': DRIVER,
  'libnvrtc.so': NVRTC,
  'libcublasLt.so': CUBLAS,
};

/** Compiles a library into a folder. @param as its file name, where it is not the library's own @returns its path */
export function fakeLibrary(folder: string, name: keyof typeof SOURCES, as: string = name): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, as);
  execFileSync(
    findCompiler()!,
    ['-shared', '-fPIC', '-w', `-Wl,-soname,${as}`, '-o', path, '-x', 'c++', '-', '-ldl'],
    {
      input: SOURCES[name],
    },
  );
  return path;
}
