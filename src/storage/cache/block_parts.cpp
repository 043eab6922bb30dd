#include "storage/cache/block_parts.h"

namespace atl::storage {

std::optional<CachedObject> parts_of(const CachedObject& object) {
  const bool has_parts = object.block_bytes > kPartBytes && object.block_bytes % kPartBytes == 0 &&
                         object.size_bytes > object.block_bytes;
  if (!has_parts) return std::nullopt;
  return CachedObject(
      object.remote_identity, object.key, object.etag, object.size_bytes, kPartBytes);
}

PartRange parts_of_block(const CachedObject& object, uint64_t block) {
  return parts_of_bytes(block * object.block_bytes, object.data_bytes(block));
}

PartRange parts_of_bytes(uint64_t offset, uint64_t size_bytes) {
  const uint64_t first = offset / kPartBytes;
  return {first, (offset + size_bytes - 1) / kPartBytes - first + 1};
}

}  // namespace atl::storage
