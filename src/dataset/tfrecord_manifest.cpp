#include "dataset/tfrecord_manifest.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace atl::dataset {
namespace {

using Json = nlohmann::ordered_json;

// nlohmann's get() casts whatever number there is.
std::optional<uint64_t> whole_number(const Json& json, const char* key, uint64_t most) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_unsigned()) return std::nullopt;
  const auto value = found->get<uint64_t>();
  if (value > most) return std::nullopt;
  return value;
}

std::optional<std::pair<std::string, ShardEntry>> read_line(std::string_view line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto name = json.find("shard");
  const auto bad_images = json.find("bad_images");
  const auto size_bytes = whole_number(json, "bytes", std::numeric_limits<uint64_t>::max());
  const auto crc = whole_number(json, "crc32c", std::numeric_limits<uint32_t>::max());
  const auto images = whole_number(json, "images", std::numeric_limits<int64_t>::max());
  if (name == json.end() || !name->is_string() || bad_images == json.end() ||
      !bad_images->is_array() || !size_bytes || !crc || !images) {
    return std::nullopt;
  }
  ShardEntry entry{.size_bytes = *size_bytes,
                   .crc = static_cast<uint32_t>(*crc),
                   .images = static_cast<int64_t>(*images),
                   .bad_images = {}};
  entry.bad_images.reserve(bad_images->size());
  for (const Json& bad : *bad_images) {
    if (!bad.is_string()) return std::nullopt;
    entry.bad_images.push_back(bad.get<std::string>());
  }
  return std::pair(name->get<std::string>(), std::move(entry));
}

}  // namespace

FinishedShards read_manifest(std::string_view lines) {
  FinishedShards shards;
  while (!lines.empty()) {
    const auto line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
    if (auto read = read_line(line)) shards.insert_or_assign(read->first, std::move(read->second));
  }
  return shards;
}

std::string manifest_line(std::string_view shard, const ShardEntry& entry) {
  const Json line = {{"shard", shard},
                     {"bytes", entry.size_bytes},
                     {"crc32c", entry.crc},
                     {"images", entry.images},
                     {"bad_images", entry.bad_images}};
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace atl::dataset
