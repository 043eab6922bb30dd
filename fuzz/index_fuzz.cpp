// Index files of annotations and of records: whatever opens can be used.
// The header's hash is made right first, so that what lies behind it is tried.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "dataset/coco_builder.h"
#include "dataset/index.h"
#include "dataset/tfrecord_store.h"
#include "storage/fake_store.h"
#include "storage/key.h"
#include "use_dataset.h"

namespace {

// Header: 48 bytes, ten sections of 24, of records thirteen, the hash.
constexpr size_t kVersionOffset = 8;
constexpr size_t kFileSizeOffset = 40;
constexpr size_t hashed_bytes(bool of_records) { return 48 + (of_records ? 13 : 10) * 24; }

// What a program does with them, in a shard as long as can be.
void use(const atl::dataset::CocoDataset& data, const atl::dataset::IndexedRecords& records) {
  const auto& table = records.table;
  ATOLL_CHECK(table.places.size() == data.images().size()) << table.places.size();
  const atl::storage::ObjectInfo shard{.key = "x", .size_bytes = ~uint64_t{0}, .etag = "1"};
  if (!atl::dataset::fits_shards(table, {&shard, 1})) return;
  atl::dataset::TfrecordStore store(
      std::make_unique<atl::storage::FakeStore>(), {shard}, data, table);
  for (const auto image : data.images()) {
    const auto found = store.head(image.file_name);
    ATOLL_CHECK(!atl::storage::check_key(image.file_name) || found.has_value()) << image.id;
    ATOLL_CHECK(!store.get(image.file_name)) << image.id;  // for there is no such file
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::vector<std::byte> file(size);
  if (size > 0) std::memcpy(file.data(), bytes, size);
  const bool of_records = size > kVersionOffset && bytes[kVersionOffset] == 2;
  const size_t hashed = hashed_bytes(of_records);
  if (size >= hashed + sizeof(uint64_t)) {
    const uint64_t file_bytes = size;
    std::memcpy(file.data() + kFileSizeOffset, &file_bytes, sizeof file_bytes);
    const uint64_t hash =
        atl::dataset::hash_of({reinterpret_cast<const char*>(file.data()), hashed});
    std::memcpy(file.data() + hashed, &hash, sizeof hash);
  }
  const atl::storage::Blob blob(std::move(file));
  const auto opened = atl::dataset::open_index(blob, "input");
  if (!opened) return 0;
  (void)atl::dataset::verify_index(blob, "input");
  use(opened->dataset);
  if (opened->records) use(opened->dataset, *opened->records);
  return 0;
}
