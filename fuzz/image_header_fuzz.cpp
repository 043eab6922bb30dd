// Pictures from outside: the header alone, then a decode with a small limit on pixels, then once
// more with the size that EXIF's orientation would give, then a part of it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "dataset/exif.h"
#include "dataset/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace dataset = atl::dataset;
  constexpr int64_t kMaxPixels = 1 << 16;
  const auto file = std::as_bytes(std::span(data, size));
  const auto header = dataset::read_image_header(file);
  const auto picture = dataset::decode_image(file, {}, kMaxPixels);
  if (!picture) return 0;
  // What decodes has a header that said so.
  if (!header || header->stored != dataset::ImageSize{picture->width, picture->height})
    std::abort();
  const auto size_turned = dataset::oriented_size(header->stored, header->exif_orientation);
  const auto turned = dataset::decode_image(file, size_turned, kMaxPixels);
  if (!turned || turned->rgb.size() != picture->rgb.size()) std::abort();
  // A part, shrunk, from somewhere inside.
  const int shrink = 1 << size % 4;
  const auto [width, height] = dataset::shrunk_size(header->stored, shrink);
  const dataset::ImageRect part = {
      width / 3, height / 3, width - width / 3 - width / 4, height - height / 3 - height / 4};
  dataset::PicturePart decoded;
  const auto wanted =
      dataset::decode_image_part(file, header->stored, {shrink, part}, kMaxPixels, decoded);
  if (!wanted || decoded.picture.rgb.size() != static_cast<size_t>(decoded.picture.width) *
                                                   static_cast<size_t>(decoded.picture.height) * 3)
    std::abort();
  return 0;
}
