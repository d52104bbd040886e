// Numbers, texts and arrays from JavaScript, and errors back to it. The addons of cards, the emulator and MPI are written with it.
#pragma once
#include <node_api.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace minillm {

// The arguments of one call. What does not fit throws; `guarded` turns that into a JavaScript error.
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env(env), values(24) {
    size_t count = values.size();
    napi_get_cb_info(env, info, &count, values.data(), nullptr, nullptr);
    values.resize(count);
  }
  double number(size_t i) const {
    double x = 0;
    if (i >= values.size() || napi_get_value_double(env, values[i], &x) != napi_ok)
      throw std::runtime_error("argument " + std::to_string(i) + ": a number expected");
    return x;
  }
  int64_t integer(size_t i) const { return static_cast<int64_t>(number(i)); }
  std::string text(size_t i) const {
    size_t length = 0;
    if (i >= values.size() || napi_get_value_string_utf8(env, values[i], nullptr, 0, &length) != napi_ok)
      throw std::runtime_error("argument " + std::to_string(i) + ": a string expected");
    std::string s(length, 0);
    napi_get_value_string_utf8(env, values[i], &s[0], length + 1, &length);
    return s;
  }
  // The memory of a typed array, and its bytes.
  void* bytes(size_t i, size_t* size) const {
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    if (i >= values.size() || napi_get_typedarray_info(env, values[i], &type, &length, &data, nullptr, nullptr) != napi_ok)
      throw std::runtime_error("argument " + std::to_string(i) + ": a typed array expected");
    const size_t width = type == napi_int8_array || type == napi_uint8_array || type == napi_uint8_clamped_array ? 1
                         : type == napi_int16_array || type == napi_uint16_array                              ? 2
                         : type == napi_float64_array || type == napi_bigint64_array || type == napi_biguint64_array ? 8
                                                                                                                 : 4;
    *size = length * width;
    return data;
  }

  // Keeps the value until the reference is deleted.
  napi_ref reference(size_t i) const {
    napi_ref kept = nullptr;
    if (i >= values.size() || napi_create_reference(env, values[i], 1, &kept) != napi_ok)
      throw std::runtime_error("argument " + std::to_string(i) + ": cannot be kept");
    return kept;
  }

  napi_env env;

 private:
  std::vector<napi_value> values;
};

inline napi_value numberOf(napi_env env, double x) {
  napi_value v;
  napi_create_double(env, x, &v);
  return v;
}

inline napi_value textOf(napi_env env, const std::string& s) {
  napi_value v;
  napi_create_string_utf8(env, s.c_str(), s.size(), &v);
  return v;
}

inline void put(napi_env env, napi_value object, const char* name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

using Body = napi_value (*)(Arguments&);

// A function of the addon: what it throws becomes an error of JavaScript.
template <Body body>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    Arguments arguments(env, info);
    return body(arguments);
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
    return nullptr;
  }
}

inline void define(napi_env env, napi_value exports, const char* name, napi_callback f) {
  napi_value v;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, f, nullptr, &v);
  napi_set_named_property(env, exports, name, v);
}

}  // namespace minillm
