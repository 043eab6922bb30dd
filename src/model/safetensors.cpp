#include "model/safetensors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>
#include <optional>
#include <span>
#include <utility>

#include "model/safetensors_header.h"

namespace atl::model {
namespace {

using Name = std::pair<const char*, at::ScalarType>;
constexpr std::array<Name, 10> kTypes = {{{"F64", at::kDouble},
                                          {"F32", at::kFloat},
                                          {"F16", at::kHalf},
                                          {"BF16", at::kBFloat16},
                                          {"I64", at::kLong},
                                          {"I32", at::kInt},
                                          {"I16", at::kShort},
                                          {"I8", at::kChar},
                                          {"U8", at::kByte},
                                          {"BOOL", at::kBool}}};

at::ScalarType type_of(std::string_view dtype) {
  for (const auto& [name, type] : kTypes) {
    if (dtype == name) return type;
  }
  TORCH_CHECK(false, "safetensors: dtype ", dtype);
}

}  // namespace

std::optional<std::string> safetensors_dtype(at::ScalarType wanted) {
  for (const auto& [name, type] : kTypes) {
    if (type == wanted) return name;
  }
  return std::nullopt;
}

Result<TensorFile> parse_safetensors(const storage::Blob& bytes, std::string_view name) {
  auto header = ATOLL_TRY(parse_safetensors_header(bytes.bytes(), name));
  TensorFile file;
  file.metadata = std::move(header.metadata);
  for (const auto& [tensor, entry] : header.tensors) {
    const auto options = at::TensorOptions().dtype(type_of(entry.dtype));
    // Read only by contract: the mapping is private to readers, and nothing here writes to it.
    auto* const data = const_cast<std::byte*>(bytes.bytes().data() + entry.begin);
    at::Tensor view = at::from_blob(
        data, entry.shape, [bytes](void*) {}, options, at::Device(at::kCPU));
    // Data that another writer left unaligned cannot be read in place.
    const auto alignment = static_cast<uintptr_t>(view.element_size());
    if (reinterpret_cast<uintptr_t>(data) % alignment != 0) {
      view = at::empty(entry.shape, options);
      std::copy_n(bytes.bytes().data() + entry.begin,
                  entry.size_bytes,
                  static_cast<std::byte*>(view.mutable_data_ptr()));
    }
    file.tensors.emplace(tensor, std::move(view));
  }
  return file;
}

Result<TensorFile> read_safetensors(storage::ObjectStore& store, std::string_view key) {
  const auto file = ATOLL_TRY(store.get(key));
  return parse_safetensors(file, fmt::format("{}/{}", store.uri(), key));
}

std::vector<std::span<const std::byte>> SafetensorsPieces::parts() const {
  std::vector<std::span<const std::byte>> parts;
  parts.push_back(std::as_bytes(std::span(head)));
  for (const at::Tensor& tensor : data) {
    parts.emplace_back(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes());
  }
  return parts;
}

Result<SafetensorsPieces> make_safetensors(const std::map<std::string, at::Tensor>& tensors,
                                           const std::map<std::string, std::string>& metadata,
                                           std::string_view name) {
  SafetensorsHeader header;
  header.metadata = metadata;
  SafetensorsPieces pieces;
  uint64_t offset = 0;
  for (const auto& [tensor_name, tensor] : tensors) {
    auto dtype = safetensors_dtype(tensor.scalar_type());
    if (!dtype) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}: tensor {}: dtype {} cannot be stored",
                              name,
                              tensor_name,
                              at::toString(tensor.scalar_type())));
    }
    pieces.data.push_back(tensor.detach().cpu().contiguous());
    const uint64_t size = pieces.data.back().nbytes();
    header.tensors.emplace(tensor_name,
                           SafetensorsEntry{*dtype, tensor.sizes().vec(), offset, size});
    offset += size;
  }
  pieces.head = make_safetensors_header(header);
  return pieces;
}

Result<void> write_safetensors(storage::ObjectStore& store,
                               std::string_view key,
                               const std::map<std::string, at::Tensor>& tensors,
                               const std::map<std::string, std::string>& metadata) {
  const auto pieces = ATOLL_TRY(make_safetensors(tensors, metadata, key));
  return store.put(key, pieces.parts());
}

}  // namespace atl::model
