// The lines of NAME.manifest.jsonl behind its first: what a conversion to TFRecords has finished.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace atl::dataset {

struct ShardEntry {
  uint64_t size_bytes = 0;
  uint32_t crc = 0;
  int64_t images = 0;
  std::vector<std::string> bad_images;
  friend bool operator==(const ShardEntry&, const ShardEntry&) = default;
};

// By the shard's name.
using FinishedShards = std::map<std::string, ShardEntry>;

// Of a shard with two lines the later one counts. A line that is cut off or none of ours costs no more than its shard
// being made again.
FinishedShards read_manifest(std::string_view lines);

// One line, with its end.
std::string manifest_line(std::string_view shard, const ShardEntry& entry);

}  // namespace atl::dataset
