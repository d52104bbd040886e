// The cards that the driver knows, without opening one: no context, no memory of theirs.
#pragma once
#include "arguments.h"
#include "libraries.h"

namespace minillm {

// { driver: CUDA's version as the driver gives it, cards: [{ name, architecture, totalBytes }] }. Throws where there is no driver.
inline napi_value cards(Arguments& a) {
  Library l;
  Cards known;
  CUresult (*memory)(size_t*, CUdevice);
  known.load(l);
  l.find(memory, "cuDeviceTotalMem_v2");
  int driver = 0, there = 0;
  known.version(&driver);
  const CUresult started = known.init(0);
  if (started != CUDA_SUCCESS && started != CUDA_ERROR_NO_DEVICE)
    throw std::runtime_error("the NVIDIA driver does not start (cuInit gives " + std::to_string(started) + ")");
  if (started == CUDA_SUCCESS) known.count(&there);
  napi_value info, list;
  napi_create_object(a.env, &info);
  napi_create_array(a.env, &list);
  for (int i = 0; i < there; i++) {
    CUdevice card;
    char text[256] = "";
    int major = 0, minor = 0;
    size_t bytes = 0;
    if (known.device(&card, i) || known.name(text, sizeof text, card) ||
        known.attribute(&major, COMPUTE_CAPABILITY_MAJOR, card) ||
        known.attribute(&minor, COMPUTE_CAPABILITY_MINOR, card) || memory(&bytes, card))
      throw std::runtime_error("the NVIDIA driver does not describe card " + std::to_string(i));
    napi_value one;
    napi_create_object(a.env, &one);
    put(a.env, one, "name", textOf(a.env, text));
    put(a.env, one, "architecture", numberOf(a.env, 10 * major + minor));
    put(a.env, one, "totalBytes", numberOf(a.env, static_cast<double>(bytes)));
    napi_set_element(a.env, list, static_cast<uint32_t>(i), one);
  }
  put(a.env, info, "driver", numberOf(a.env, driver));
  put(a.env, info, "cards", list);
  return info;
}

}  // namespace minillm
