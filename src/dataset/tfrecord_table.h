// Where the pictures of a dataset lie in TFRecords: flat arrays, byte for byte the same in memory
// and in an index file (dataset/index.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace atl::dataset {

struct RecordPlace {
  uint32_t shard = 0;
  uint32_t reserved = 0;        // named, so that it is 0 in files
  uint64_t offset = 0;          // of the record's frame, in the shard
  uint64_t data_bytes = 0;      // of the record's data
  uint64_t encoded_offset = 0;  // of the picture, in the data
  uint64_t encoded_bytes = 0;
};

// A view; `owner` keeps alive what it shows.
struct RecordTable {
  std::span<const RecordPlace> places;  // one an image, in the dataset's order
  std::span<const uint32_t> by_name;    // the images in byte order of their names, all different
  std::shared_ptr<const void> owner;
};

// What the pass over the records found besides.
struct RecordFindings {
  std::vector<std::string> notes;        // what a person should know, a line each
  std::vector<std::string> bad_records;  // "train-00003-of-00256.tfrecord: the record at byte …"
  int64_t bad_record_count = 0;          // with an estimate of what a broken file has lost
  friend bool operator==(const RecordFindings&, const RecordFindings&) = default;
};

}  // namespace atl::dataset
