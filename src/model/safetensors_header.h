// The header of a safetensors file, checked completely before anything is made of it. No torch
// here, so that it can be fuzzed and tested by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::model {

struct SafetensorsEntry {
  std::string dtype;           // as in the file: "F32", "BF16", "I64", …
  std::vector<int64_t> shape;  // not negative; the product fits
  uint64_t begin = 0;          // within the file
  uint64_t size_bytes = 0;
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::map<std::string, SafetensorsEntry> tensors;
};

// Bytes of one element, 0 for a type we do not know.
uint64_t safetensors_element_bytes(std::string_view dtype);

// `file` is the whole file; `name` is for messages. kCorrupt, with the tensor named.
Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> file,
                                                   std::string_view name);

// The eight bytes of length and the JSON, padded so that the data begin at a multiple of eight. The
// entries' `begin` is counted from the start of the data here.
std::string make_safetensors_header(const SafetensorsHeader& header);

}  // namespace atl::model
