// The pass over the records of one file: frames, checksums, Examples, masks. Many threads, one file
// at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "dataset/coco_builder.h"
#include "dataset/tfrecord_labels.h"
#include "dataset/tfrecord_table.h"

namespace atl::dataset {

// What is kept of one record; owns everything.
struct PassedRecord {
  std::string file_name;  // may be empty
  std::string source_id;  // may be empty
  std::string extension;  // of the picture's format: "jpg" or "png"
  int64_t width = 0;
  int64_t height = 0;
  std::vector<AnnotationRecord> objects;
  std::vector<std::string> class_texts;  // one an object, or none
  RecordPlace place;
};

struct ShardPass {
  std::vector<PassedRecord> records;     // in the file's order
  std::vector<std::string> bad_records;  // "the record at byte 1234: why"
  uint64_t record_bytes = 0;             // of all whole frames
  uint64_t frames = 0;
  uint64_t lost_bytes = 0;  // behind a break of the chain, which is the last of bad_records
};

// `progress` gets the bytes done of this file, from any thread, one at a time. kCancelled on a
// stop.
Result<ShardPass> pass_over_shard(std::span<const std::byte> file,
                                  uint32_t shard,
                                  const LabelMap* labels,
                                  int threads,
                                  const std::function<void(uint64_t)>& progress,
                                  const std::stop_token& stop);

}  // namespace atl::dataset
