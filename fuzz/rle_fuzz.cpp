// Masks from outside: the ASCII form of counts, and everything that is done to a mask afterwards.
// Input: height and width, a byte each, then the counts. A string that is taken must survive the
// round trip, and every operation must agree with the same one on the mask's bitmap. The same bytes
// are taken as listed counts and as the coordinates of a polygon, too.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "dataset/rle.h"

namespace {

using atl::dataset::Rle;
using Bitmap = std::vector<uint8_t>;

Bitmap bitmap_of(const Rle& mask) {
  Bitmap bitmap(size_t{mask.height} * mask.width);
  rle_to_bitmap(mask, bitmap);
  return bitmap;
}

void hold_against_bitmap(const Rle& mask) {
  const Bitmap bitmap = bitmap_of(mask);
  const Rle canonical = atl::dataset::rle_from_bitmap(bitmap, mask.height, mask.width);
  const auto area = static_cast<uint64_t>(std::count(bitmap.begin(), bitmap.end(), 1));
  ATOLL_CHECK(rle_area(mask) == area) << rle_area(mask);
  ATOLL_CHECK(rle_bounding_box(mask) == rle_bounding_box(canonical));
  ATOLL_CHECK(rle_flip_horizontal(rle_flip_horizontal(mask)) == canonical);
  ATOLL_CHECK(rle_resize(mask, mask.height, mask.width) == canonical);
  ATOLL_CHECK(rle_area(rle_resize(mask, mask.height * 2, mask.width * 3)) == area * 6);
  const Rle eroded = rle_erode(mask, 1);
  ATOLL_CHECK(rle_erode(mask, 0) == canonical);
  ATOLL_CHECK(rle_erode(eroded, 2) == rle_erode(mask, 3));
  ATOLL_CHECK(rle_area(rle_subtract(mask, eroded)) + rle_area(eroded) == area);

  const Rle mirrored = rle_flip_horizontal(mask);
  Bitmap either = bitmap_of(mirrored);
  uint64_t common = 0;
  for (size_t i = 0; i < either.size(); ++i) {
    common += either[i] & bitmap[i];
    either[i] |= bitmap[i];
  }
  const Rle pair[] = {mask, mirrored};
  ATOLL_CHECK(rle_merge(pair) == atl::dataset::rle_from_bitmap(either, mask.height, mask.width));
  ATOLL_CHECK(rle_area(atl::dataset::rle_merge(pair, true)) == common);
  for (const double iou : atl::dataset::rle_iou(pair, pair, {})) {
    ATOLL_CHECK(iou >= 0 && iou <= 1) << iou;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint32_t height = data[0];
  const uint32_t width = data[1];
  const std::string_view text(reinterpret_cast<const char*>(data + 2), size - 2);
  if (const auto mask = atl::dataset::rle_from_string(text, height, width)) {
    const std::string again = rle_to_string(*mask);
    ATOLL_CHECK(atl::dataset::rle_from_string(again, height, width) == *mask) << again;
    hold_against_bitmap(*mask);
  }
  std::vector<uint32_t> counts(text.size() / sizeof(uint32_t));
  if (!counts.empty()) std::memcpy(counts.data(), text.data(), counts.size() * sizeof(uint32_t));
  if (const auto mask = atl::dataset::rle_from_counts(counts, height, width)) {
    hold_against_bitmap(*mask);
  }
  std::vector<double> xy(text.size() / sizeof(double));
  if (!xy.empty()) std::memcpy(xy.data(), text.data(), xy.size() * sizeof(double));
  hold_against_bitmap(atl::dataset::rle_from_polygon(xy, height, width));
  return 0;
}
