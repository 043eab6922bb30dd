// COCO JSON, in both modes: whatever loads keeps its promises (masks of the image's size, labels in
// range) and can be written and read back; strict accepts nothing that lenient refuses.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "dataset/coco_builder.h"

namespace {

using atl::dataset::CocoDataset;

// A picture larger than this takes long to draw masks in, and teaches nothing new.
constexpr int64_t kMaxPixels = int64_t{1} << 20;

void use(const CocoDataset& data) {
  for (size_t i = 0; i < data.images().size(); ++i) {
    const auto& image = data.images()[i];
    ATOLL_CHECK(data.image_index(image.id) == i) << image.id;
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
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  (void)atl::dataset::first_file_names(text, 3);
  const auto lenient = CocoDataset::parse(text, "input", CocoDataset::Mode::kLenient);
  const auto strict = CocoDataset::parse(text, "input");
  if (!lenient) {
    ATOLL_CHECK(!strict);
    return 0;
  }
  ATOLL_CHECK(strict.has_value() == (lenient->issue_count() == 0));
  use(*lenient);
  const std::string written = to_json(*lenient);
  const auto again = CocoDataset::parse(written, "written");
  ATOLL_CHECK(again.has_value()) << again.error().to_string();
  ATOLL_CHECK(to_json(*again) == written);
  return 0;
}
