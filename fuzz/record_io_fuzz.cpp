// Input: one byte for the length of the pieces, then a RecordIO stream. In pieces it says the same as at once.
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "base/check.h"
#include "sagemaker/record_io.h"

namespace {

struct Decoded {
  std::string data;
  bool whole = false;
};

Decoded decode(std::span<const std::byte> stream, size_t piece) {
  atl::sagemaker::RecordIoDecoder decoder;
  Decoded result;
  const auto sink = [&](std::span<const std::byte> bytes) -> atl::Result<void> {
    result.data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  };
  for (size_t at = 0; at < stream.size(); at += piece) {
    if (!decoder.add(stream.subspan(at, std::min(piece, stream.size() - at)), sink)) return result;
  }
  result.whole = decoder.finish().has_value();
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto stream = std::as_bytes(std::span(data, size)).subspan(1);
  const Decoded at_once = decode(stream, stream.size());
  const Decoded in_pieces = decode(stream, size_t{1} + data[0] % 16);
  ATOLL_CHECK(at_once.data == in_pieces.data && at_once.whole == in_pieces.whole);
  return 0;
}
