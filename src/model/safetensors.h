// Weight files: the safetensors format (8-byte little-endian header length, JSON header, raw data),
// read through a mapped file without copying, written atomically. Nothing in such a file can
// execute.
//
// Everything is checked before a tensor is made: header size, JSON, dtypes, shapes, that the data
// ranges lie inside the file, do not overlap and leave no gap. Errors: kCorrupt, with the tensor
// named.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "storage/storage.h"

namespace atl::model {

struct TensorFile {
  std::map<std::string, std::string> metadata;
  std::map<std::string, at::Tensor>
      tensors;  // views of the mapping, kept alive by the tensors; read only
};

Result<TensorFile> parse_safetensors(const storage::Blob& bytes, std::string_view name);
Result<TensorFile> read_safetensors(storage::ObjectStore& store, std::string_view key);
// A file to be written: its pieces are those of parts(), one after the other, as long as this lives.
struct SafetensorsPieces {
  std::string head;
  std::vector<at::Tensor> data;  // on the CPU, contiguous
  std::vector<std::span<const std::byte>> parts() const;
};
// Tensors in order of name; contiguous CPU copies are made where needed. kUnsupported: a dtype that cannot be
// stored. `name` is for messages.
Result<SafetensorsPieces> make_safetensors(const std::map<std::string, at::Tensor>& tensors,
                                           const std::map<std::string, std::string>& metadata,
                                           std::string_view name);
Result<void> write_safetensors(storage::ObjectStore& store,
                               std::string_view key,
                               const std::map<std::string, at::Tensor>& tensors,
                               const std::map<std::string, std::string>& metadata);

// "F32"; nullopt: cannot be stored.
std::optional<std::string> safetensors_dtype(at::ScalarType type);

}  // namespace atl::model
