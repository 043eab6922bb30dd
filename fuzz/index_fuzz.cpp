// Index files of annotations: whatever opens can be used.
// The header's hash is made right first, so that what lies behind it is tried.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "dataset/coco_builder.h"
#include "dataset/index.h"
#include "use_dataset.h"

namespace {

// Header: 48 bytes, ten sections of 24, the hash.
constexpr size_t kHashedBytes = 48 + 10 * 24;
constexpr size_t kFileSizeOffset = 40;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::vector<std::byte> file(size);
  if (size > 0) std::memcpy(file.data(), bytes, size);
  if (size >= kHashedBytes + sizeof(uint64_t)) {
    const uint64_t file_bytes = size;
    std::memcpy(file.data() + kFileSizeOffset, &file_bytes, sizeof file_bytes);
    const uint64_t hash =
        atl::dataset::hash_of({reinterpret_cast<const char*>(file.data()), kHashedBytes});
    std::memcpy(file.data() + kHashedBytes, &hash, sizeof hash);
  }
  const atl::storage::Blob blob(std::move(file));
  const auto opened = atl::dataset::open_index(blob, "input");
  if (!opened) return 0;
  (void)atl::dataset::verify_index(blob, "input");
  use(opened->dataset);
  return 0;
}
