// Private to the room: what the public functions share. Each of roi_align.cpp, boxes.cpp and
// masks.cpp holds public functions that check their arguments and call the dispatcher, and, in the
// same file, the registration of those operators: a linker takes a file of a static library only
// for a function that someone calls, so whoever calls an operation gets its registration with it.
//
// Which code runs: a kernel registered for the tensors' device if there is one (the CPU's here,
// CUDA's in the plug-in), else the plain tensor code of reference.cpp.
#pragma once

#include <ATen/ATen.h>
#include <torch/library.h>

#include <string>

namespace atl::ops {

// The operator's handle; name with its namespace.
template <typename Signature>
c10::TypedOperatorHandle<Signature> operation(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

inline std::string described(const at::Tensor& tensor) {
  if (!tensor.defined()) return "an undefined tensor";
  return c10::str(tensor.sizes(), " ", tensor.scalar_type(), " on ", tensor.device());
}

inline void check_boxes(const char* operation,
                        const char* name,
                        const at::Tensor& boxes,
                        int64_t columns = 4) {
  TORCH_CHECK(boxes.defined() && boxes.dim() == 2 && boxes.size(1) == columns &&
                  boxes.scalar_type() == at::kFloat,
              operation,
              ": ",
              name,
              " must be (R, ",
              columns,
              ") Float, got ",
              described(boxes));
}

inline void check_indices(const char* operation,
                          const char* name,
                          const at::Tensor& indices,
                          const at::Tensor& of) {
  TORCH_CHECK(indices.defined() && indices.dim() == 1 && indices.size(0) == of.size(0) &&
                  indices.scalar_type() == at::kLong && indices.device() == of.device(),
              operation,
              ": ",
              name,
              " must be (",
              of.size(0),
              ") Long on ",
              of.device(),
              ", got ",
              described(indices));
}

}  // namespace atl::ops
