// Weight files come from outside: any bytes must give a header that is safe to follow, or an error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "model/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  const auto header = atl::model::parse_safetensors_header(file, "fuzz");
  if (!header) return 0;
  uint64_t total = 0;
  for (const auto& [name, entry] : header->tensors) {
    uint64_t bytes = atl::model::safetensors_element_bytes(entry.dtype);
    for (const int64_t dimension : entry.shape) bytes *= static_cast<uint64_t>(dimension);
    if (entry.begin + entry.size_bytes > size || bytes != entry.size_bytes) std::abort();
    total += entry.size_bytes;
  }
  // Together with the header the tensors are the whole file: nothing overlaps, nothing is left
  // over.
  if (total > size) std::abort();
  return 0;
}
