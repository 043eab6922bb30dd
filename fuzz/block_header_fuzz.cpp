// Headers of cached blocks. One that is accepted names a block that its object has; written again for
// that block it is the same but for the CRCs of the bytes, which are not here. As no fuzzer finds a CRC by
// chance, the input is also tried with the right one in place.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/crc32c.h"
#include "storage/cache/block_header.h"

namespace {

using namespace atl::storage;

void use(std::span<const std::byte> bytes) {
  const auto header = parse_block_header(bytes);
  if (!header) return;
  const CachedObject object(header->remote_identity,
                            header->key,
                            header->etag,
                            header->object_bytes,
                            header->block_bytes);
  ATOLL_CHECK(object.can_be_kept());
  ATOLL_CHECK(header->index < object.blocks()) << header->index;
  ATOLL_CHECK(header->is_of(object, header->index));
  ATOLL_CHECK(header->data_bytes() == object.data_bytes(header->index));
  ATOLL_CHECK(header->piece_crcs.size() == (header->data_bytes() + kPieceBytes - 1) / kPieceBytes);
  if (header->data_bytes() > (uint64_t{1} << 20)) return;  // takes long and teaches nothing
  const std::vector<std::byte> data(header->data_bytes());
  const std::string again = encode_block_header(object, header->index, data);
  const size_t crcs = 4 * header->piece_crcs.size() + 4;
  ATOLL_CHECK(again.size() <= bytes.size()) << again.size();
  ATOLL_CHECK(std::memcmp(again.data(), bytes.data(), again.size() - crcs) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::byte> bytes(size);
  if (size > 0) std::memcpy(bytes.data(), data, size);
  use(bytes);
  if (size < 12) return 0;
  uint32_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data() + 8, sizeof header_bytes);
  if (header_bytes < 4 || header_bytes > size) return 0;
  const uint32_t crc = atl::crc32c(std::span(bytes).first(header_bytes - 4));
  std::memcpy(bytes.data() + header_bytes - 4, &crc, sizeof crc);
  use(bytes);
  return 0;
}
