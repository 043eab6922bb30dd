// The annotations of a COCO JSON, or of TFRecords, as a file that is mapped instead of parsed: every
// worker and every rank of a machine then shares one copy, that of the page cache, and opening takes
// milliseconds.
//
// The file, little-endian:
//   0    "ATOLLIDX"
//   8    version (uint32): 1 of a JSON, 2 of TFRecords; byte-order mark 0x01020304 (uint32)
//   16   the JSON it was made from: size (uint64), time of last change in ns (int64), XXH3-64 of
//        its bytes (uint64). Of records: size of all, 0, XXH3-64 of what tells them apart
//        (dataset/tfrecord_index.h)
//   40   size of this file (uint64)
//   48   10 times, of records 13: offset (uint64), size in bytes (uint64), XXH3-64 (uint64)
//   end  XXH3-64 of all of the header before it (uint64)
// Sections stand in the order of CocoArrays, then the categories, each at a multiple of 64 bytes;
// they are the arrays of dataset/coco_arrays.h as they are. Categories: id (int64), sizes of name
// and supercategory (uint32 each), the two texts; one after the other. Of records, besides: the two
// arrays of dataset/tfrecord_table.h; and the pass's findings: the number of bad records (int64), of
// notes (uint64), then the notes and the bad records, each a size (uint32) and a text.
//
// Why XXH3: the JSON is read once more for it, at the speed of memory (CRC-32C would do that, too,
// but 32 bits are few to tell files apart by). It protects from accidents. Nothing is trusted
// because of it: opening checks every offset, count and run, so that a damaged or hostile file is
// refused (kCorrupt) or yields some dataset, and never reads beyond its memory.
//
// As with every mapped file: who truncates it under a running program stops it (SIGBUS). Writing
// makes a new file and renames it, which does no harm.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "dataset/coco.h"
#include "dataset/tfrecord_table.h"
#include "storage/storage.h"

namespace atl::dataset {

inline constexpr std::string_view kIndexSuffix = ".atoll-index";

// Which JSON an index was made from.
struct IndexSource {
  uint64_t size_bytes = 0;
  int64_t modified_ns = 0;
  uint64_t hash = 0;
  friend bool operator==(const IndexSource&, const IndexSource&) = default;
};

uint64_t hash_of(std::string_view bytes);

// Writes the index atomically. The dataset must be one without issues(): what a lenient load left
// out, the index would hide.
Result<void> write_index(const CocoDataset& dataset,
                         const IndexSource& source,
                         storage::ObjectStore& store,
                         std::string_view key);

// The size of the file that write_index would write.
uint64_t index_size_bytes(const CocoDataset& dataset);

// What the index of TFRecords holds besides. `table` fits the dataset; whether it fits the shards,
// TfrecordStore must see to.
struct IndexedRecords {
  RecordTable table;
  RecordFindings findings;
};
Result<void> write_index(const CocoDataset& dataset,
                         const IndexedRecords& records,
                         const IndexSource& source,
                         storage::ObjectStore& store,
                         std::string_view key);

struct OpenedIndex {
  IndexSource source;
  CocoDataset dataset;                    // keeps the blob alive
  std::optional<IndexedRecords> records;  // of TFRecords; keeps it alive, too
};
// kCorrupt with the reason for what is not a whole index of this version; kUnsupported for another
// version. The sections' hashes are not looked at: verify_index does.
Result<OpenedIndex> open_index(storage::Blob blob, std::string_view name);
Result<void> verify_index(const storage::Blob& blob, std::string_view name);

struct OpenAnnotationsOptions {
  // Where indexes of large JSONs without one are kept; "": nowhere.
  std::string cache_folder;
  CocoDataset::Mode mode = CocoDataset::Mode::kStrict;
  // Smaller JSONs are read each time: it takes 20 ms.
  uint64_t index_from_bytes = uint64_t{16} << 20;
  int threads = 0;
  // Told about an index that is there and cannot be used, or cannot be written.
  std::function<void(const std::string&)> note;
};

// The annotations `key`, by the cheapest way that gives what parsing the JSON gives: the index
// beside it (key + kIndexSuffix) if it belongs to the JSON as it is now; else, for a large JSON, the
// one in the cache folder, which is made if need be; else the JSON is read. An index that cannot be
// read or written is no error, but a note. Processes that make the same index at the same time do not disturb
// each other. Errors: those of CocoDataset::parse, with the store and key, and of the store.
Result<CocoDataset> open_annotations(storage::ObjectStore& store,
                                     std::string_view key,
                                     const OpenAnnotationsOptions& options = {});

// What the index of this JSON is called in a cache folder. In a bucket an ETag belongs to one content, so
// it is a part of the name, and no JSON of 450 MB is read to see whether its index is still right.
std::string cached_index_key(const storage::ObjectStore& store, const storage::ObjectInfo& json);

// What `atoll data index` does: reads the JSON and writes its index, unless there is a valid one.
struct IndexBuild {
  bool was_valid = false;
  uint64_t json_bytes = 0;
  uint64_t index_bytes = 0;
  size_t images = 0;
  size_t annotations = 0;
  std::chrono::duration<double> read_time{};
  std::chrono::duration<double> write_time{};
};
struct IndexBuildOptions {
  int threads = 0;
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> progress;
};
Result<IndexBuild> build_index(storage::ObjectStore& store,
                               std::string_view key,
                               storage::ObjectStore& index_store,
                               std::string_view index_key,
                               const IndexBuildOptions& options = {});

}  // namespace atl::dataset
