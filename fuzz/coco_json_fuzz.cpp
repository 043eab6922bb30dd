// COCO JSON, in both modes: whatever loads keeps its promises (masks of the image's size, labels in
// range) and can be written and read back; strict accepts nothing that lenient refuses.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "dataset/coco_builder.h"
#include "use_dataset.h"

using atl::dataset::CocoDataset;

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
