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

namespace {

using atl::dataset::CocoDataset;

// A picture larger than this takes long to draw masks in, and teaches nothing new.
constexpr int64_t kMaxPixels = int64_t{1} << 20;
// Header: 48 bytes, ten sections of 24, the hash.
constexpr size_t kHashedBytes = 48 + 10 * 24;
constexpr size_t kFileSizeOffset = 40;

void use(const CocoDataset& data) {
  for (size_t i = 0; i < data.images().size(); ++i) {
    const auto image = data.images()[i];
    ATOLL_CHECK(data.image_index(image.id) == i) << image.id;
    ATOLL_CHECK(!image.file_name.empty());
    for (const auto& annotation : data.annotations_of(i)) {
      ATOLL_CHECK(data.label_of(annotation.category_id).has_value()) << annotation.category_id;
      if (int64_t{image.width} * image.height > kMaxPixels) continue;
      const auto mask = data.mask_of(annotation);
      uint64_t pixels = 0;
      for (const uint32_t run : mask.counts) pixels += run;
      ATOLL_CHECK(pixels == uint64_t{mask.height} * mask.width) << annotation.id;
      data.mask_of(annotation, 37, 23, true);
    }
  }
}

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
