// Pictures from outside: the header alone, then a decode with a small limit on pixels, then once
// more with the size that EXIF's orientation would give.
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
  return 0;
}
