// TFRecord files: the frames, the Examples in them, the objects and their masks. The walk must
// account for every byte; what is an image's record keeps its promises. The input is also taken as
// one Example without a frame and as a PNG, because no fuzzer finds a CRC by chance.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "dataset/tfrecord.h"
#include "dataset/tfrecord_example.h"
#include "dataset/tfrecord_mask.h"
#include "dataset/tfrecord_schema.h"

namespace {

using namespace atl::dataset;

// A PNG's header, read before the decoder is given it: a larger one takes long and teaches nothing.
constexpr int64_t kMaxPixels = int64_t{1} << 20;

void use_mask(const Rle& mask) {
  uint64_t pixels = 0;
  for (const uint32_t run : mask.counts) pixels += run;
  ATOLL_CHECK(pixels == uint64_t{mask.height} * mask.width) << pixels;
  const auto png = mask_to_png(mask);
  ATOLL_CHECK(png.has_value());
  ATOLL_CHECK(mask_from_png(*png, mask.height, mask.width) == mask);
}

void use_example(std::span<const std::byte> data) {
  const auto example = TfExample::parse(data);
  if (!example) return;
  TfExampleWriter writer;
  size_t values = 0;
  for (const auto& [name, feature] : example->features()) {
    ATOLL_CHECK(example->find(name) == &feature) << name;
    ATOLL_CHECK(feature.size() <= data.size()) << feature.size();
    values += feature.size();
    if (feature.kind == TfFeature::Kind::kBytes) writer.add_bytes(name, feature.bytes);
    if (feature.kind == TfFeature::Kind::kFloats) writer.add_floats(name, feature.floats);
    if (feature.kind == TfFeature::Kind::kIntegers) writer.add_integers(name, feature.integers);
  }
  const std::string written = writer.finish();
  const auto again = TfExample::parse(std::as_bytes(std::span(written)));
  ATOLL_CHECK(again.has_value());
  for (const auto& [name, feature] : again->features()) values -= feature.size();
  ATOLL_CHECK(values == 0) << values;

  const auto image = read_tfrecord_image(*example, nullptr);
  if (!image || image->width * image->height > kMaxPixels) return;
  for (const auto& object : image->objects) {
    if (object.kind != SegmentationKind::kRle) continue;
    ATOLL_CHECK(object.rle.height == image->height && object.rle.width == image->width);
    use_mask(object.rle);
  }
}

void use_file(std::span<const std::byte> file) {
  TfrecordReader reader(file);
  std::vector<std::byte> again;
  while (true) {
    const auto entry = reader.next();
    if (!entry) {
      ATOLL_CHECK(reader.lost_bytes() > 0);
      break;
    }
    if (!*entry) break;
    ATOLL_CHECK((*entry)->offset == again.size()) << (*entry)->offset;
    append_tfrecord(again, (*entry)->data);
    if (check_tfrecord_data(**entry)) use_example((*entry)->data);
  }
  ATOLL_CHECK(reader.offset() == again.size()) << reader.offset();
  ATOLL_CHECK(reader.offset() + reader.lost_bytes() == file.size()) << reader.lost_bytes();
}

uint32_t big_endian(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  use_file(bytes);
  use_example(bytes);
  if (size >= 24) {  // width and height stand in the first chunk
    const uint32_t width = big_endian(data + 16);
    const uint32_t height = big_endian(data + 20);
    if (width > 0 && height > 0 && uint64_t{width} * height <= kMaxPixels) {
      const std::string_view png(reinterpret_cast<const char*>(data), size);
      if (const auto mask = mask_from_png(png, height, width)) use_mask(*mask);
    }
  }
  return 0;
}
