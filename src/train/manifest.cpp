#include "train/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "base/crc32c.h"
#include "model/safetensors_header.h"

namespace atl::train {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kManifestSuffix = ".manifest.json";
constexpr std::string_view kShardInfix = ".shard-";
constexpr std::string_view kTensorsSuffix = ".safetensors";
constexpr const char* kFormat = "atoll.checkpoint";
constexpr int64_t kVersion = 1;
// What stands around the eight hexadecimal digits of the checksum, at the end of the text.
constexpr std::string_view kBeforeSum = ",\"crc32c\":\"";
constexpr std::string_view kAfterSum = "\"}\n";
constexpr size_t kSumDigits = 8;

tl::unexpected<Error> corrupt(std::string_view name, std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("{}: {}", name, what));
}

std::string hex(uint32_t sum) { return fmt::format("{:08x}", sum); }

std::optional<uint32_t> from_hex(std::string_view digits) {
  uint32_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  // The one way to write it, so that a manifest has one text.
  return hex(value) == digits ? std::optional(value) : std::nullopt;
}

Json to_json(const ManifestShard& shard) {
  Json tensors = Json::object();
  for (const auto& [name, kind] : shard.tensors) {
    tensors[name] = {{"dtype", kind.dtype}, {"shape", kind.shape}};
  }
  return {{"bytes", shard.written.size_bytes},
          {"crc32c", hex(shard.written.crc32c)},
          {"tensors", std::move(tensors)}};
}

// Strict, where nlohmann-json would round or wrap a number. The largest that we write fits 63 bits.
std::optional<uint64_t> as_size(const Json& json) {
  if (!json.is_number_unsigned()) return std::nullopt;
  const auto size = json.get<uint64_t>();
  if (size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return size;
}

// The functions below throw what nlohmann-json throws where a value is missing or of another type.
Result<TensorKind> read_kind(const Json& json, std::string_view name, const std::string& tensor) {
  TensorKind kind;
  json.at("dtype").get_to(kind.dtype);
  if (model::safetensors_element_bytes(kind.dtype) == 0) {
    return corrupt(name, fmt::format("tensor {} has an unknown dtype", tensor));
  }
  for (const Json& dimension : json.at("shape")) {
    const auto size = as_size(dimension);
    if (!size) return corrupt(name, fmt::format("the shape of tensor {} is none", tensor));
    kind.shape.push_back(static_cast<int64_t>(*size));
  }
  return kind;
}

Result<ManifestShard> read_shard(const Json& json, std::string_view name) {
  ManifestShard shard;
  const auto size = as_size(json.at("bytes"));
  if (!size) return corrupt(name, "the length of a shard is none");
  shard.written.size_bytes = *size;
  const auto sum = from_hex(json.at("crc32c").get<std::string>());
  if (!sum) return corrupt(name, "the checksum of a shard is none");
  shard.written.crc32c = *sum;
  const Json& tensors = json.at("tensors");
  if (!tensors.is_object()) return corrupt(name, "the tensors of a shard are not named");
  for (const auto& [tensor, kind] : tensors.items()) {
    auto read = ATOLL_TRY(read_kind(kind, name, tensor));
    shard.tensors.emplace(tensor, std::move(read));
  }
  return shard;
}

Result<std::vector<ManifestShard>> read_shards(const Json& json, std::string_view name) {
  if (!json.is_array() || json.empty()) return corrupt(name, "it names no shards");
  std::vector<ManifestShard> shards;
  std::set<std::string> seen;
  for (const Json& one : json) {
    shards.push_back(ATOLL_TRY(read_shard(one, name)));
    for (const auto& [tensor, kind] : shards.back().tensors) {
      if (!seen.insert(tensor).second) {
        return corrupt(name, fmt::format("tensor {} is in two shards", tensor));
      }
    }
  }
  return shards;
}

Result<Manifest> read(const Json& json, std::string_view name) {
  try {
    if (json.at("format") != kFormat) return corrupt(name, "not a checkpoint of atoll");
    if (json.at("version") != kVersion) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}: written by another version of atoll", name),
                  "use that version, or another --out");
    }
    Manifest manifest;
    manifest.state = ATOLL_TRY(run_state_from_json(json.at("state"), name));
    manifest.shards = ATOLL_TRY(read_shards(json.at("shards"), name));
    return manifest;
  } catch (const Json::exception& error) {
    return corrupt(name, fmt::format("the manifest is damaged: {}", error.what()));
  }
}

std::optional<int64_t> number_in(std::string_view digits) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool all = error == std::errc() && end == digits.data() + digits.size();
  return all && number >= 0 ? std::optional(number) : std::nullopt;
}

}  // namespace

std::string manifest_key(int64_t step) {
  return fmt::format("{}{:08}{}", kCheckpointPrefix, step, kManifestSuffix);
}

std::string shard_key(int64_t step, size_t shard, size_t shards) {
  return fmt::format("{}{:08}{}{:05}-of-{:05}{}",
                     kCheckpointPrefix,
                     step,
                     kShardInfix,
                     shard,
                     shards,
                     kTensorsSuffix);
}

std::optional<CheckpointKey> parse_checkpoint_key(std::string_view key) {
  if (!key.starts_with(kCheckpointPrefix)) return std::nullopt;
  key.remove_prefix(kCheckpointPrefix.size());
  const std::string_view digits = key.substr(0, key.find('.'));
  const auto step = number_in(digits);
  if (!step) return std::nullopt;
  key.remove_prefix(digits.size());
  const bool manifest = key == kManifestSuffix;
  const bool single = key == kTensorsSuffix;
  if (!manifest && !single && !(key.starts_with(kShardInfix) && key.ends_with(kTensorsSuffix))) {
    return std::nullopt;
  }
  return CheckpointKey{*step, manifest, single};
}

std::string sealed_manifest(std::string_view json) {
  std::string text(json.substr(0, json.rfind('}')));
  const std::string sum = hex(crc32c(text));
  return text.append(kBeforeSum).append(sum).append(kAfterSum);
}

std::string to_text(const Manifest& manifest) {
  Json shards = Json::array();
  for (const auto& shard : manifest.shards) shards.push_back(to_json(shard));
  const Json json = {{"format", kFormat},
                     {"version", kVersion},
                     {"state", json_of(manifest.state)},
                     {"shards", std::move(shards)}};
  // File names may hold bytes that are not UTF-8.
  return sealed_manifest(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Result<Manifest> manifest_from_text(std::string_view text, std::string_view name) {
  const size_t tail = kBeforeSum.size() + kSumDigits + kAfterSum.size();
  if (text.size() < tail || !text.ends_with(kAfterSum)) {
    return corrupt(name, "the manifest is cut off or was altered");
  }
  const std::string_view head = text.substr(0, text.size() - tail);
  const std::string_view end = text.substr(head.size());
  const auto sum = from_hex(end.substr(kBeforeSum.size(), kSumDigits));
  if (!end.starts_with(kBeforeSum) || !sum || *sum != crc32c(head)) {
    return corrupt(name, "the manifest's checksum is wrong");
  }
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return corrupt(name, "the manifest is no JSON object");
  return read(json, name);
}

std::vector<size_t> divide_by_bytes(std::span<const uint64_t> sizes_bytes, size_t parts) {
  std::vector<size_t> order(sizes_bytes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(
      order, std::ranges::greater(), [&](size_t thing) { return sizes_bytes[thing]; });
  std::vector<uint64_t> filled(parts);
  std::vector<size_t> part_of(sizes_bytes.size());
  for (const size_t thing : order) {
    const auto least = std::ranges::min_element(filled);
    part_of[thing] = static_cast<size_t>(least - filled.begin());
    *least += sizes_bytes[thing];
  }
  return part_of;
}

}  // namespace atl::train
