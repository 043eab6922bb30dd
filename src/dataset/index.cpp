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

#include "dataset/index_check.h"

namespace atl::dataset {
namespace {

using internal::corrupt_index;

// The arrays are written as they lie in memory.
static_assert(std::endian::native == std::endian::little);
static_assert(sizeof(Annotation) == 72 && offsetof(Annotation, box) == 24 &&
              offsetof(Annotation, part_count) == 68);
static_assert(sizeof(ImageRow) == 24 && sizeof(ImageIdRow) == 16 && sizeof(MaskRow) == 16 &&
              sizeof(PolygonRow) == 8);

constexpr std::array<char, 8> kMagic = {'A', 'T', 'O', 'L', 'L', 'I', 'D', 'X'};
// The versions are kinds, too: the same but for the last sections.
constexpr uint32_t kOfJson = 1;
constexpr uint32_t kOfRecords = 2;
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
  kJsonSections,
  kPlaces = kJsonSections,
  kByName,
  kFindings,
  kRecordSections,
};

struct Section {
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
  uint64_t hash = 0;
};

// What the file begins with; the sections follow, then the hash of both.
struct Preamble {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kOfJson;
  uint32_t byte_order = kByteOrder;
  IndexSource source;
  uint64_t file_bytes = 0;
};
static_assert(sizeof(Preamble) == 48 && sizeof(Section) == 24 && sizeof(IndexSource) == 24);
static_assert(sizeof(RecordPlace) == 40);

constexpr uint64_t header_bytes(size_t sections) {
  return sizeof(Preamble) + sections * sizeof(Section) + sizeof(uint64_t);
}

struct Header {
  Preamble preamble;
  std::vector<Section> sections;
};

constexpr uint64_t aligned(uint64_t offset) {
  return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

template <typename T>
void append(std::vector<char>& out, T number) {
  const auto bytes = std::bit_cast<std::array<char, sizeof(T)>>(number);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_text(std::vector<char>& out, std::string_view text) {
  out.insert(out.end(), text.begin(), text.end());
}

std::vector<char> pack_categories(std::span<const Category> categories) {
  std::vector<char> out;
  for (const Category& category : categories) {
    append(out, category.id);
    append(out, static_cast<uint32_t>(category.name.size()));
    append(out, static_cast<uint32_t>(category.supercategory.size()));
    append_text(out, category.name);
    append_text(out, category.supercategory);
  }
  return out;
}

std::vector<char> pack_findings(const RecordFindings& findings) {
  std::vector<char> out;
  append(out, findings.bad_record_count);
  append(out, static_cast<uint64_t>(findings.notes.size()));
  for (const auto* lines : {&findings.notes, &findings.bad_records}) {
    for (const std::string& line : *lines) {
      append(out, static_cast<uint32_t>(line.size()));
      append_text(out, line);
    }
  }
  return out;
}

using Parts = std::vector<std::span<const std::byte>>;

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
  header.sections.reserve(parts.size());
  uint64_t offset = header_bytes(parts.size());
  for (const auto& part : parts) {
    offset = aligned(offset);
    header.sections.push_back({offset, part.size(), 0});
    offset += part.size();
  }
  header.preamble.file_bytes = offset;
  return header;
}

// As it stands in the file.
std::vector<char> packed(const Header& header) {
  std::vector<char> out;
  append(out, header.preamble);
  for (const Section& section : header.sections) append(out, section);
  append(out, static_cast<uint64_t>(XXH3_64bits(out.data(), out.size())));
  return out;
}

Result<void> write_parts(const Parts& parts,
                         uint32_t version,
                         const IndexSource& source,
                         storage::ObjectStore& store,
                         std::string_view key) {
  Header header = lay_out(parts);
  header.preamble.version = version;
  header.preamble.source = source;
  for (size_t i = 0; i < parts.size(); ++i) {
    header.sections[i].hash = XXH3_64bits(parts[i].data(), parts[i].size());
  }
  const std::vector<char> begin = packed(header);

  static constexpr std::array<std::byte, kAlignment> kPadding{};
  std::vector<std::span<const std::byte>> pieces;
  pieces.reserve(1 + 2 * parts.size());
  pieces.push_back(std::as_bytes(std::span(begin)));
  uint64_t offset = begin.size();
  for (size_t i = 0; i < parts.size(); ++i) {
    pieces.push_back(std::span(kPadding).first(header.sections[i].offset - offset));
    pieces.push_back(parts[i]);
    offset = header.sections[i].offset + parts[i].size();
  }
  return store.put(key, pieces);
}

Result<Header> read_header(std::span<const std::byte> file) {
  Header header;
  if (file.size() < sizeof(Preamble)) return corrupt_index("it is too short");
  std::memcpy(&header.preamble, file.data(), sizeof(Preamble));
  const auto& [magic, version, byte_order, source, file_bytes] = header.preamble;
  if (magic != kMagic) return corrupt_index("it does not begin as one");
  if ((version != kOfJson && version != kOfRecords) || byte_order != kByteOrder) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format(
            "an index of version {}, this program reads {} and {}", version, kOfJson, kOfRecords),
        "make it again: atoll data index");
  }
  header.sections.resize(version == kOfRecords ? kRecordSections : kJsonSections);
  const uint64_t size = header_bytes(header.sections.size());
  if (file.size() < size) return corrupt_index("it is too short");
  uint64_t hash = 0;
  std::memcpy(&hash, file.data() + size - sizeof hash, sizeof hash);
  if (hash != XXH3_64bits(file.data(), size - sizeof hash)) {
    return corrupt_index("its header is damaged");
  }
  if (file_bytes != file.size()) {
    return corrupt_index(fmt::format("it has {} bytes instead of {}", file.size(), file_bytes));
  }
  std::memcpy(header.sections.data(),
              file.data() + sizeof(Preamble),
              header.sections.size() * sizeof(Section));
  for (const Section& section : header.sections) {
    if (section.offset % kAlignment != 0 || section.offset > file.size() ||
        section.size_bytes > file.size() - section.offset) {
      return corrupt_index("a section lies outside of it");
    }
  }
  return header;
}

// The section as an array; what follows the last whole element makes it corrupt.
template <typename T>
Result<std::span<const T>> array_of(std::span<const std::byte> file, const Section& section) {
  if (section.size_bytes % sizeof(T) != 0) {
    return corrupt_index("a section has a part of a record");
  }
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
    if (bytes.size() < kFixed) return corrupt_index("a category is cut off");
    std::memcpy(&id, bytes.data(), sizeof id);
    std::memcpy(sizes.data(), bytes.data() + sizeof id, sizeof sizes);
    bytes = bytes.subspan(kFixed);
    if (bytes.size() < uint64_t{sizes[0]} + sizes[1]) return corrupt_index("a category is cut off");
    if (!categories.empty() && categories.back().id >= id)
      return corrupt_index("categories out of order");
    std::string name = take(sizes[0]);
    categories.push_back({id, std::move(name), take(sizes[1])});
  }
  return categories;
}

Result<RecordFindings> findings_of(std::span<const std::byte> bytes) {
  RecordFindings findings;
  uint64_t notes = 0;
  if (bytes.size() < 2 * sizeof(uint64_t)) return corrupt_index("its findings are cut off");
  std::memcpy(&findings.bad_record_count, bytes.data(), sizeof(int64_t));
  std::memcpy(&notes, bytes.data() + sizeof(int64_t), sizeof notes);
  bytes = bytes.subspan(2 * sizeof(uint64_t));
  while (!bytes.empty()) {
    uint32_t size = 0;
    if (bytes.size() < sizeof size) return corrupt_index("its findings are cut off");
    std::memcpy(&size, bytes.data(), sizeof size);
    bytes = bytes.subspan(sizeof size);
    if (bytes.size() < size) return corrupt_index("its findings are cut off");
    auto& lines = findings.notes.size() < notes ? findings.notes : findings.bad_records;
    lines.emplace_back(reinterpret_cast<const char*>(bytes.data()), size);
    bytes = bytes.subspan(size);
  }
  if (findings.notes.size() != notes || findings.bad_record_count < 0) {
    return corrupt_index("its findings");
  }
  return findings;
}

Result<OpenedIndex> open_blob(storage::Blob blob) {
  // A buffer that is read instead of mapped may lie anywhere; the arrays may not.
  if (reinterpret_cast<uintptr_t>(blob.bytes().data()) % alignof(std::max_align_t) != 0) {
    auto copy =
        std::make_shared<std::vector<std::max_align_t>>(blob.size() / sizeof(std::max_align_t) + 1);
    std::memcpy(copy->data(), blob.bytes().data(), blob.size());
    const std::span bytes(reinterpret_cast<const std::byte*>(copy->data()), blob.size());
    blob = storage::Blob(std::move(copy), bytes);
  }
  const auto file = blob.bytes();
  const Header header = ATOLL_TRY(read_header(file));
  const CocoArrays arrays = ATOLL_TRY(arrays_of(file, header));
  const auto section = [&](SectionName name) {
    return file.subspan(header.sections[name].offset, header.sections[name].size_bytes);
  };
  auto categories = ATOLL_TRY(categories_of(section(kCategories)));
  ATOLL_TRY(internal::check_arrays(arrays, categories));
  const auto owner = std::make_shared<storage::Blob>(blob);
  OpenedIndex opened{header.preamble.source, CocoDataset(arrays, std::move(categories), owner), {}};
  if (header.preamble.version != kOfRecords) return opened;
  RecordTable table{ATOLL_TRY(array_of<RecordPlace>(file, header.sections[kPlaces])),
                    ATOLL_TRY(array_of<uint32_t>(file, header.sections[kByName])),
                    owner};
  ATOLL_TRY(internal::check_table(table, opened.dataset.images()));
  auto findings = ATOLL_TRY(findings_of(section(kFindings)));
  opened.records = IndexedRecords{std::move(table), std::move(findings)};
  return opened;
}

}  // namespace

uint64_t hash_of(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t index_size_bytes(const CocoDataset& dataset) {
  const auto categories = pack_categories(dataset.categories());
  return lay_out(parts_of(dataset.arrays(), categories)).preamble.file_bytes;
}

Result<void> write_index(const CocoDataset& dataset,
                         const IndexSource& source,
                         storage::ObjectStore& store,
                         std::string_view key) {
  const auto categories = pack_categories(dataset.categories());
  return write_parts(parts_of(dataset.arrays(), categories), kOfJson, source, store, key);
}

Result<void> write_index(const CocoDataset& dataset,
                         const IndexedRecords& records,
                         const IndexSource& source,
                         storage::ObjectStore& store,
                         std::string_view key) {
  const auto categories = pack_categories(dataset.categories());
  const auto findings = pack_findings(records.findings);
  Parts parts = parts_of(dataset.arrays(), categories);
  parts.push_back(std::as_bytes(records.table.places));
  parts.push_back(std::as_bytes(records.table.by_name));
  parts.push_back(std::as_bytes(std::span(findings)));
  return write_parts(parts, kOfRecords, source, store, key);
}

Result<OpenedIndex> open_index(storage::Blob blob, std::string_view name) {
  auto opened = open_blob(std::move(blob));
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
    return tl::unexpected(
        corrupt_index(fmt::format("the section at byte {} is damaged", section.offset))
            .value()
            .with_context(name));
  }
  return {};
}

}  // namespace atl::dataset
