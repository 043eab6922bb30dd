#include "dataset/exif.h"

#include <cstdint>
#include <optional>

namespace atl::dataset {
namespace {

constexpr uint32_t kOrientationTag = 0x0112;
constexpr uint32_t kShortType = 3;
constexpr uint64_t kEntryBytes = 12;

// Numbers of a TIFF block in its own byte order; nullopt past the end.
class TiffReader {
 public:
  TiffReader(std::span<const std::byte> bytes, bool big_endian)
      : bytes_(bytes), big_endian_(big_endian) {}

  std::optional<uint32_t> number(uint64_t offset, size_t size_bytes) const {
    if (offset > bytes_.size() || bytes_.size() - offset < size_bytes) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < size_bytes; ++i) {
      const size_t place = big_endian_ ? i : size_bytes - 1 - i;
      value = value << 8 | std::to_integer<uint32_t>(bytes_[offset + place]);
    }
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  bool big_endian_;
};

}  // namespace

int exif_orientation(std::span<const std::byte> tiff) {
  if (tiff.size() < 8 || tiff[0] != tiff[1]) return 1;
  const char order = static_cast<char>(tiff[0]);
  if (order != 'I' && order != 'M') return 1;
  const TiffReader reader(tiff, order == 'M');
  if (reader.number(2, 2) != 42U) return 1;
  const uint64_t directory = reader.number(4, 4).value_or(0);
  const uint64_t entries = reader.number(directory, 2).value_or(0);
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + i * kEntryBytes;
    if (reader.number(entry, 2) != kOrientationTag) continue;
    const auto value = reader.number(entry + 8, 2);
    const bool valid = reader.number(entry + 2, 2) == kShortType &&
                       reader.number(entry + 4, 4) == 1U && value && *value >= 1 && *value <= 8;
    return valid ? static_cast<int>(*value) : 1;
  }
  return 1;
}

ImageSize oriented_size(ImageSize stored, int orientation) {
  return orientation >= 5 ? ImageSize{stored.height, stored.width} : stored;
}

Picture apply_orientation(const Picture& picture, int orientation) {
  // Where the upright picture's first row and first column lie in the stored one (the EXIF
  // definition): 1 top left, 2 top right, 3 bottom right, 4 bottom left, 5 to 8 the same
  // transposed.
  const bool swap = orientation >= 5;
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const ImageSize size = oriented_size({picture.width, picture.height}, orientation);
  Picture upright{size.width, size.height, std::vector<uint8_t>(picture.rgb.size())};
  uint8_t* out = upright.rgb.data();
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x, out += 3) {
      int stored_x = swap ? y : x;
      int stored_y = swap ? x : y;
      if (from_right) stored_x = picture.width - 1 - stored_x;
      if (from_bottom) stored_y = picture.height - 1 - stored_y;
      const uint8_t* in =
          picture.rgb.data() + (static_cast<size_t>(stored_y) * static_cast<size_t>(picture.width) +
                                static_cast<size_t>(stored_x)) *
                                   3;
      out[0] = in[0];
      out[1] = in[1];
      out[2] = in[2];
    }
  }
  return upright;
}

}  // namespace atl::dataset
