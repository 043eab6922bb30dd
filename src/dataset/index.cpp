// The index file: writing, opening, checking. See the header for its form.
#include "dataset/index.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "dataset/coco_builder.h"

namespace atl::dataset {
namespace {

// The arrays are written as they lie in memory.
static_assert(std::endian::native == std::endian::little);
static_assert(sizeof(Annotation) == 72 && offsetof(Annotation, box) == 24 &&
              offsetof(Annotation, part_count) == 68);
static_assert(sizeof(ImageRow) == 24 && sizeof(ImageIdRow) == 16 && sizeof(MaskRow) == 16 &&
              sizeof(PolygonRow) == 8);

constexpr std::array<char, 8> kMagic = {'A', 'T', 'O', 'L', 'L', 'I', 'D', 'X'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kByteOrder = 0x01020304;
constexpr uint64_t kAlignment = 64;

enum SectionName : size_t {
  kImages,
  kNames,
  kImageIds,
  kAnnotations,
  kAnnotationEnds,
  kPolygons,
  kCoordinates,
  kMasks,
  kRuns,
  kCategories,
  kSections,
};

struct Section {
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
  uint64_t hash = 0;
};

struct Header {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kVersion;
  uint32_t byte_order = kByteOrder;
  IndexSource source;
  uint64_t file_bytes = 0;
  std::array<Section, kSections> sections;
  uint64_t hash = 0;  // of everything before it
};
static_assert(sizeof(Header) == 48 + kSections * 24 + 8 && sizeof(IndexSource) == 24);

uint64_t hash_of_header(const Header& header) {
  return XXH3_64bits(&header, offsetof(Header, hash));
}

constexpr uint64_t aligned(uint64_t offset) {
  return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

template <typename T>
void append(std::vector<char>& out, T number) {
  const auto bytes = std::bit_cast<std::array<char, sizeof(T)>>(number);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

std::vector<char> pack_categories(std::span<const Category> categories) {
  std::vector<char> out;
  for (const Category& category : categories) {
    append(out, category.id);
    append(out, static_cast<uint32_t>(category.name.size()));
    append(out, static_cast<uint32_t>(category.supercategory.size()));
    out.insert(out.end(), category.name.begin(), category.name.end());
    out.insert(out.end(), category.supercategory.begin(), category.supercategory.end());
  }
  return out;
}

using Parts = std::array<std::span<const std::byte>, kSections>;

Parts parts_of(const CocoArrays& arrays, std::span<const char> categories) {
  return {std::as_bytes(arrays.images),
          std::as_bytes(arrays.names),
          std::as_bytes(arrays.image_ids),
          std::as_bytes(arrays.annotations),
          std::as_bytes(arrays.annotation_ends),
          std::as_bytes(arrays.polygons),
          std::as_bytes(arrays.coordinates),
          std::as_bytes(arrays.masks),
          std::as_bytes(arrays.runs),
          std::as_bytes(categories)};
}

// Offsets and sizes of the sections and of the file.
Header lay_out(const Parts& parts) {
  Header header;
  uint64_t offset = sizeof(Header);
  for (size_t i = 0; i < kSections; ++i) {
    offset = aligned(offset);
    header.sections[i] = {offset, parts[i].size(), 0};
    offset += parts[i].size();
  }
  header.file_bytes = offset;
  return header;
}

tl::unexpected<Error> corrupt(std::string_view what) {
  return fail(ErrorCode::kCorrupt,
              fmt::format("not a whole index: {}", what),
              "make it again: atoll data index");
}

Result<Header> read_header(std::span<const std::byte> file) {
  Header header;
  if (file.size() < sizeof header) return corrupt("it is too short");
  std::memcpy(&header, file.data(), sizeof header);
  if (header.magic != kMagic) return corrupt("it does not begin as one");
  if (header.version != kVersion || header.byte_order != kByteOrder) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("an index of version {}, this program reads {}", header.version, kVersion),
        "make it again: atoll data index");
  }
  if (header.hash != hash_of_header(header)) return corrupt("its header is damaged");
  if (header.file_bytes != file.size()) {
    return corrupt(fmt::format("it has {} bytes instead of {}", file.size(), header.file_bytes));
  }
  for (const Section& section : header.sections) {
    if (section.offset % kAlignment != 0 || section.offset > file.size() ||
        section.size_bytes > file.size() - section.offset) {
      return corrupt("a section lies outside of it");
    }
  }
  return header;
}

// The section as an array; what follows the last whole element makes it corrupt.
template <typename T>
Result<std::span<const T>> array_of(std::span<const std::byte> file, const Section& section) {
  if (section.size_bytes % sizeof(T) != 0) return corrupt("a section has a part of a record");
  const auto bytes = file.subspan(section.offset, section.size_bytes);
  return std::span(reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T));
}

Result<CocoArrays> arrays_of(std::span<const std::byte> file, const Header& header) {
  const auto& at = header.sections;
  return CocoArrays{.images = ATOLL_TRY(array_of<ImageRow>(file, at[kImages])),
                    .names = ATOLL_TRY(array_of<char>(file, at[kNames])),
                    .image_ids = ATOLL_TRY(array_of<ImageIdRow>(file, at[kImageIds])),
                    .annotations = ATOLL_TRY(array_of<Annotation>(file, at[kAnnotations])),
                    .annotation_ends = ATOLL_TRY(array_of<uint32_t>(file, at[kAnnotationEnds])),
                    .polygons = ATOLL_TRY(array_of<PolygonRow>(file, at[kPolygons])),
                    .coordinates = ATOLL_TRY(array_of<uint16_t>(file, at[kCoordinates])),
                    .masks = ATOLL_TRY(array_of<MaskRow>(file, at[kMasks])),
                    .runs = ATOLL_TRY(array_of<uint32_t>(file, at[kRuns]))};
}

Result<std::vector<Category>> categories_of(std::span<const std::byte> bytes) {
  std::vector<Category> categories;
  const auto take = [&](size_t count) {
    const auto taken = bytes.first(count);
    bytes = bytes.subspan(count);
    return std::string(reinterpret_cast<const char*>(taken.data()), count);
  };
  while (!bytes.empty()) {
    int64_t id = 0;
    std::array<uint32_t, 2> sizes{};
    constexpr size_t kFixed = sizeof id + sizeof sizes;
    if (bytes.size() < kFixed) return corrupt("a category is cut off");
    std::memcpy(&id, bytes.data(), sizeof id);
    std::memcpy(sizes.data(), bytes.data() + sizeof id, sizeof sizes);
    bytes = bytes.subspan(kFixed);
    if (bytes.size() < uint64_t{sizes[0]} + sizes[1]) return corrupt("a category is cut off");
    if (!categories.empty() && categories.back().id >= id)
      return corrupt("categories out of order");
    std::string name = take(sizes[0]);
    categories.push_back({id, std::move(name), take(sizes[1])});
  }
  return categories;
}

// Everything that the functions of CocoDataset and of rle.h rely on.
class Checker {
 public:
  Checker(const CocoArrays& arrays, std::span<const Category> categories)
      : arrays_(arrays), categories_(categories) {}

  Result<void> check() {
    ATOLL_TRY(check_images());
    ATOLL_TRY(check_image_ids());
    ATOLL_TRY(check_polygons());
    ATOLL_TRY(check_masks());
    ATOLL_TRY(check_annotations());
    return {};
  }

 private:
  Result<void> check_images() const {
    if (arrays_.images.size() > std::numeric_limits<int32_t>::max()) return corrupt("images");
    uint64_t name_end = 0;
    for (const ImageRow& image : arrays_.images) {
      const bool size_is_good =
          image.width >= 1 && image.height >= 1 && image.width <= kMaxImageSide_px &&
          image.height <= kMaxImageSide_px &&
          rle_size_fits(static_cast<uint32_t>(image.height), static_cast<uint32_t>(image.width));
      if (!size_is_good || image.name_end <= name_end) return corrupt("an image is impossible");
      name_end = image.name_end;
    }
    if (name_end != arrays_.names.size()) return corrupt("the names' size");
    return {};
  }

  Result<void> check_image_ids() const {
    if (arrays_.image_ids.size() != arrays_.images.size()) return corrupt("the table of ids' size");
    for (size_t i = 0; i < arrays_.image_ids.size(); ++i) {
      const auto& [id, index] = arrays_.image_ids[i];
      const bool in_order = i == 0 || arrays_.image_ids[i - 1].id < id;
      if (!in_order || static_cast<uint64_t>(index) >= arrays_.images.size() ||
          arrays_.images[static_cast<size_t>(index)].id != id) {
        return corrupt("the table of ids");
      }
    }
    return {};
  }

  Result<void> check_polygons() const {
    uint64_t begin = 0;
    for (const PolygonRow& polygon : arrays_.polygons) {
      const uint64_t end = polygon.unit_end();
      if (polygon.type() > CoordinateType::kFloat64 || end <= begin) {
        return corrupt("a polygon is impossible");
      }
      // Pairs of numbers.
      if ((end - begin) % (2 * units_of_number(polygon.type())) != 0) {
        return corrupt("a polygon has half a point");
      }
      begin = end;
    }
    if (begin != arrays_.coordinates.size()) return corrupt("the coordinates' size");
    return {};
  }

  Result<void> check_masks() const {
    uint64_t begin = 0;
    for (const MaskRow& mask : arrays_.masks) {
      if (mask.run_end < begin || mask.run_end > arrays_.runs.size()) {
        return corrupt("a mask is impossible");
      }
      uint64_t pixels = 0;
      for (const uint32_t run : arrays_.runs.subspan(begin, mask.run_end - begin)) pixels += run;
      if (pixels != uint64_t{mask.height} * mask.width) return corrupt("a mask's sum of runs");
      begin = mask.run_end;
    }
    if (begin != arrays_.runs.size()) return corrupt("the runs' size");
    return {};
  }

  Result<void> check_annotations() const {
    if (arrays_.annotation_ends.size() != arrays_.images.size()) {
      return corrupt("the number of groups");
    }
    uint32_t begin = 0;
    for (size_t image = 0; image < arrays_.images.size(); ++image) {
      const uint32_t end = arrays_.annotation_ends[image];
      if (end < begin || end > arrays_.annotations.size()) return corrupt("a group is impossible");
      for (const Annotation& annotation : arrays_.annotations.subspan(begin, end - begin)) {
        if (!is_good(annotation, image)) return corrupt("an annotation is impossible");
      }
      begin = end;
    }
    if (begin != arrays_.annotations.size()) return corrupt("the annotations' size");
    return {};
  }

  bool is_good(const Annotation& annotation, size_t image) const {
    // Read as bytes: a bool of another value than 0 or 1 is no bool.
    std::array<uint8_t, 2> kind_and_crowd{};
    std::memcpy(kind_and_crowd.data(),
                reinterpret_cast<const std::byte*>(&annotation) + offsetof(Annotation, kind),
                sizeof kind_and_crowd);
    if (kind_and_crowd[1] > 1 || annotation.image_index != static_cast<int64_t>(image))
      return false;
    if (!has_category(annotation.category_id)) return false;
    const uint64_t end = uint64_t{annotation.first_part} + annotation.part_count;
    switch (kind_and_crowd[0]) {
      case static_cast<uint8_t>(SegmentationKind::kNone):
        return true;
      case static_cast<uint8_t>(SegmentationKind::kPolygons):
        return annotation.part_count >= 1 && end <= arrays_.polygons.size();
      case static_cast<uint8_t>(SegmentationKind::kRle): {
        if (annotation.first_part >= arrays_.masks.size()) return false;
        const MaskRow& mask = arrays_.masks[annotation.first_part];
        const ImageRow& its_image = arrays_.images[image];
        return mask.height == static_cast<uint32_t>(its_image.height) &&
               mask.width == static_cast<uint32_t>(its_image.width);
      }
      default:
        return false;
    }
  }

  bool has_category(int64_t id) const {
    // Without holes, as they mostly are, the place is known.
    const auto place = static_cast<uint64_t>(id) - static_cast<uint64_t>(first_id());
    if (place < categories_.size() && categories_[place].id == id) return true;
    return std::ranges::binary_search(categories_, id, {}, &Category::id);
  }
  int64_t first_id() const { return categories_.empty() ? 0 : categories_.front().id; }

  const CocoArrays& arrays_;
  std::span<const Category> categories_;
};

}  // namespace

uint64_t hash_of(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t index_size_bytes(const CocoDataset& dataset) {
  const auto categories = pack_categories(dataset.categories());
  return lay_out(parts_of(dataset.arrays(), categories)).file_bytes;
}

Result<void> write_index(const CocoDataset& dataset,
                         const IndexSource& source,
                         storage::ObjectStore& store,
                         std::string_view key) {
  const auto categories = pack_categories(dataset.categories());
  const Parts parts = parts_of(dataset.arrays(), categories);
  Header header = lay_out(parts);
  header.source = source;
  for (size_t i = 0; i < kSections; ++i) {
    header.sections[i].hash = XXH3_64bits(parts[i].data(), parts[i].size());
  }
  header.hash = hash_of_header(header);

  static constexpr std::array<std::byte, kAlignment> kPadding{};
  std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(&header, 1))};
  uint64_t offset = sizeof header;
  for (size_t i = 0; i < kSections; ++i) {
    pieces.push_back(std::span(kPadding).first(header.sections[i].offset - offset));
    pieces.push_back(parts[i]);
    offset = header.sections[i].offset + parts[i].size();
  }
  return store.put(key, pieces);
}

Result<OpenedIndex> open_index(storage::Blob blob, std::string_view name) {
  const auto open = [&]() -> Result<OpenedIndex> {
    // A buffer that is read instead of mapped may lie anywhere; the arrays may not.
    if (reinterpret_cast<uintptr_t>(blob.bytes().data()) % alignof(std::max_align_t) != 0) {
      auto copy = std::make_shared<std::vector<std::max_align_t>>(
          blob.size() / sizeof(std::max_align_t) + 1);
      std::memcpy(copy->data(), blob.bytes().data(), blob.size());
      const std::span bytes(reinterpret_cast<const std::byte*>(copy->data()), blob.size());
      blob = storage::Blob(std::move(copy), bytes);
    }
    const auto file = blob.bytes();
    const Header header = ATOLL_TRY(read_header(file));
    const CocoArrays arrays = ATOLL_TRY(arrays_of(file, header));
    const Section& packed = header.sections[kCategories];
    auto categories = ATOLL_TRY(categories_of(file.subspan(packed.offset, packed.size_bytes)));
    ATOLL_TRY(Checker(arrays, categories).check());
    auto owner = std::make_shared<storage::Blob>(blob);
    return OpenedIndex{header.source, CocoDataset(arrays, std::move(categories), std::move(owner))};
  };
  auto opened = open();
  if (!opened) return tl::unexpected(std::move(opened).error().with_context(name));
  return opened;
}

Result<void> verify_index(const storage::Blob& blob, std::string_view name) {
  const auto opened = open_index(blob, name);
  if (!opened) return tl::unexpected(opened.error());
  const Header header = ATOLL_TRY_CONTEXT(read_header(blob.bytes()), name);
  for (const Section& section : header.sections) {
    const auto bytes = blob.bytes().subspan(section.offset, section.size_bytes);
    if (XXH3_64bits(bytes.data(), bytes.size()) == section.hash) continue;
    return tl::unexpected(corrupt(fmt::format("the section at byte {} is damaged", section.offset))
                              .value()
                              .with_context(name));
  }
  return {};
}

}  // namespace atl::dataset
