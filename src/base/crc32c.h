// CRC-32C (Castagnoli; RFC 3720, appendix B.4): the checksum of TFRecords, TensorBoard's event
// files and S3's x-amz-checksum-crc32c. With the processor's own instruction where it has one
// (about 20 GB/s from cache), by tables elsewhere; which of the two is decided at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace atl {

// `before`: the CRC of the bytes in front of these, to go on from.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before = 0);
inline uint32_t crc32c(std::string_view text, uint32_t before = 0) {
  return crc32c(std::as_bytes(std::span(text)), before);
}

namespace internal {
// The two ways, for their tests. The first needs crc32c_instruction_is_there().
bool crc32c_instruction_is_there();
uint32_t crc32c_by_instruction(std::span<const std::byte> bytes, uint32_t before);
uint32_t crc32c_by_tables(std::span<const std::byte> bytes, uint32_t before);
}  // namespace internal

}  // namespace atl
