// How a kernel becomes a TensorFlow operation: through TensorFlow's stable C interface, so that one source fits every
// version of the library. An operation is a struct:
//
//   struct Gelu {
//     static constexpr const char* name = "MinillmGelu";
//     static constexpr const char* inputs[] = {"x: float"};
//     static constexpr const char* outputs[] = {"y: float"};
//     static constexpr const char* attrs[] = {"slope: float"};    // at most 8, int or float; last, if any, a type
//     static void run(Call& call);
//   };
//   static Register<Gelu> gelu;
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

// What is used of tensorflow/c/kernels.h. That header drags in half of TensorFlow's own headers; these functions have not
// changed since TensorFlow 2.4.
extern "C" {
struct TF_KernelBuilder;
struct TF_OpKernelConstruction;
struct TF_OpKernelContext;
TF_KernelBuilder* TF_NewKernelBuilder(const char* op, const char* device, void* (*create)(TF_OpKernelConstruction*),
                                      void (*compute)(void*, TF_OpKernelContext*), void (*destroy)(void*));
void TF_RegisterKernelBuilder(const char* name, TF_KernelBuilder* builder, TF_Status* status);
void TF_OpKernelConstruction_GetAttrFloat(TF_OpKernelConstruction*, const char* name, float* value, TF_Status*);
void TF_OpKernelConstruction_GetAttrInt64(TF_OpKernelConstruction*, const char* name, int64_t* value, TF_Status*);
void TF_OpKernelConstruction_Failure(TF_OpKernelConstruction*, TF_Status*);
void TF_OpKernelContext_Failure(TF_OpKernelContext*, TF_Status*);
void TF_GetInput(TF_OpKernelContext*, int i, TF_Tensor** tensor, TF_Status*);
void TF_SetOutput(TF_OpKernelContext*, int i, const TF_Tensor* tensor, TF_Status*);
TF_Tensor* TF_AllocateOutput(TF_OpKernelContext*, int index, TF_DataType, const int64_t* dims, int rank, size_t bytes,
                             TF_Status*);
}

namespace minillm {

// A tensor of a call. It is freed when the call ends.
class Tensor {
 public:
  explicit Tensor(TF_Tensor* tensor) : tensor(tensor) {}
  float* floats() const { return static_cast<float*>(TF_TensorData(tensor)); }
  int32_t* ints() const { return static_cast<int32_t*>(TF_TensorData(tensor)); }
  int64_t size() const { return TF_TensorElementCount(tensor); }
  int rank() const { return TF_NumDims(tensor); }
  int64_t dim(int i) const { return TF_Dim(tensor, i); }
  // As a matrix: the last dimension, and everything before it.
  int64_t cols() const { return rank() == 0 ? 1 : dim(rank() - 1); }
  std::vector<int64_t> dims() const {
    std::vector<int64_t> all;
    for (int i = 0; i < rank(); i++) all.push_back(dim(i));
    return all;
  }
  int64_t rows() const { return cols() == 0 ? 0 : size() / cols(); }
  bool isInts() const { return TF_TensorType(tensor) == TF_INT32; }

 private:
  TF_Tensor* tensor;
};

// Whether these are `count` numbers from 0 up to `limit`.
inline bool inside(const Tensor& numbers, int64_t count, int64_t limit) {
  bool fit = numbers.size() == count;
  for (int64_t i = 0; fit && i < count; i++) fit = numbers.ints()[i] >= 0 && numbers.ints()[i] < limit;
  return fit;
}

struct Attrs {
  int64_t ints[8];
  float floats[8];
};

class Call {
 public:
  Call(TF_OpKernelContext* context, const Attrs& attrs) : attrs(attrs), context(context), status(TF_NewStatus()) {}
  ~Call() {
    for (TF_Tensor* t : held) TF_DeleteTensor(t);
    TF_DeleteStatus(status);
  }

  Tensor in(int i) {
    TF_Tensor* t = nullptr;
    TF_GetInput(context, i, &t, status);
    held.push_back(t);
    return Tensor(t);
  }
  Tensor out(int i, std::vector<int64_t> dims, TF_DataType type = TF_FLOAT) {
    int64_t bytes = TF_DataTypeSize(type);
    for (int64_t d : dims) bytes *= d;
    TF_Tensor* t = TF_AllocateOutput(context, i, type, dims.data(), static_cast<int>(dims.size()), bytes, status);
    held.push_back(t);
    return Tensor(t);
  }
  // Output i is input j itself, for operations that write in place.
  void same(int i, int j) {
    TF_Tensor* t = nullptr;
    TF_GetInput(context, j, &t, status);
    held.push_back(t);
    TF_SetOutput(context, i, t, status);
  }
  // A kernel reads memory by these numbers, so it looks at them first. Returns false after reporting.
  bool expect(bool holds, const char* what) {
    if (holds && TF_GetCode(status) == TF_OK) return true;
    if (TF_GetCode(status) == TF_OK) TF_SetStatus(status, TF_INVALID_ARGUMENT, what);
    TF_OpKernelContext_Failure(context, status);
    return false;
  }

  const Attrs& attrs;

 private:
  TF_OpKernelContext* context;
  TF_Status* status;
  std::vector<TF_Tensor*> held;
};

template <class Op>
class Register {
 public:
  Register() {
    TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(Op::name);
    for (const char* spec : Op::inputs) TF_OpDefinitionBuilderAddInput(op, spec);
    for (const char* spec : Op::outputs) TF_OpDefinitionBuilderAddOutput(op, spec);
    eachAttr([&](const char* spec, int, bool) { TF_OpDefinitionBuilderAddAttr(op, spec); });
    // Without a shape function no graph with the operation can be loaded; eager execution needs none.
    TF_OpDefinitionBuilderSetShapeInferenceFunction(op, &TF_ShapeInferenceContextSetUnknownShape);
    TF_Status* status = TF_NewStatus();
    TF_RegisterOpDefinition(op, status);
    TF_KernelBuilder* kernel = TF_NewKernelBuilder(Op::name, "CPU", &create, &compute, &destroy);
    TF_RegisterKernelBuilder(Op::name, kernel, status);
    TF_DeleteStatus(status);
  }

 private:
  // visit(spec, index among the attributes, whether it is a float)
  template <class Visit>
  static void eachAttr(Visit visit) {
    int i = 0;
    for (const char* spec : Op::attrs)
      if (*spec) visit(spec, i++, std::strstr(spec, ": float") != nullptr);
  }

  static void* create(TF_OpKernelConstruction* construction) {
    Attrs* attrs = new Attrs();
    TF_Status* status = TF_NewStatus();
    eachAttr([&](const char* spec, int i, bool isFloat) {
      if (std::strchr(spec, '{')) return;  // a type: the inputs tell
      const std::string name(spec, std::strchr(spec, ':') - spec);
      if (isFloat) TF_OpKernelConstruction_GetAttrFloat(construction, name.c_str(), &attrs->floats[i], status);
      else TF_OpKernelConstruction_GetAttrInt64(construction, name.c_str(), &attrs->ints[i], status);
      if (TF_GetCode(status) != TF_OK) TF_OpKernelConstruction_Failure(construction, status);
    });
    TF_DeleteStatus(status);
    return attrs;
  }
  static void compute(void* attrs, TF_OpKernelContext* context) {
    Call call(context, *static_cast<Attrs*>(attrs));
    Op::run(call);
  }
  static void destroy(void* attrs) { delete static_cast<Attrs*>(attrs); }
};

}  // namespace minillm
