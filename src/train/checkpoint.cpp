#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "model/safetensors.h"

namespace atl::train {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kPrefix = "checkpoints/step-";
constexpr std::string_view kSuffix = ".safetensors";
constexpr const char* kMetadataKey = "atoll.checkpoint";
constexpr int kVersion = 1;

// A chained hash over 64-bit words. Each link is a bijection, so a change in one word always shows.
uint64_t hash_bytes(uint64_t hash, const void* data, size_t size_bytes) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15ULL;
  const auto* bytes = static_cast<const std::byte*>(data);
  while (size_bytes > 0) {
    uint64_t word = 0;
    const size_t step = std::min(size_bytes, sizeof word);
    std::memcpy(&word, bytes, step);
    hash = std::rotl((hash ^ word) * kOdd, 29);
    bytes += step;
    size_bytes -= step;
  }
  return hash;
}

std::string to_text(const Json& json) {
  // File names may hold bytes that are not UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Of the tensors and of the metadata as they are written, so that a digit that changed shows, too.
uint64_t checksum(const Json& state, const TensorMap& tensors) {
  const std::string text = to_text(state);
  uint64_t hash = hash_bytes(1, text.data(), text.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor plain = tensor.detach().to(at::kCPU).contiguous();
    hash = hash_bytes(hash, name.data(), name.size());
    hash = hash_bytes(hash, plain.const_data_ptr(), plain.nbytes());
  }
  return hash;
}

std::string checksum_text(const Json& state, const TensorMap& tensors) {
  return fmt::format("{:016x}", checksum(state, tensors));
}

Json to_json(const RunState& state) {
  return {{"version", kVersion},
          {"step", state.step},
          {"epoch", state.epoch},
          {"metrics_bytes", state.metrics_bytes},
          {"best_ap", state.best_ap},
          {"best_step", state.best_step},
          {"bad_steps", state.bad_steps},
          {"bad_images", state.bad_images},
          {"train_images", state.train_images},
          {"config", state.config},
          {"category_ids", state.categories.ids},
          {"category_names", state.categories.names}};
}

tl::unexpected<Error> corrupt(std::string_view key, std::string what) {
  return fail(ErrorCode::kCorrupt, fmt::format("{}: {}", key, what));
}

Result<RunState> from_json(std::string_view key, const Json& json) {
  try {
    if (json.at("version").get<int>() != kVersion) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}: written by another version of atoll", key),
                  "use that version, or another --out");
    }
    RunState state;
    json.at("step").get_to(state.step);
    json.at("epoch").get_to(state.epoch);
    json.at("metrics_bytes").get_to(state.metrics_bytes);
    json.at("best_ap").get_to(state.best_ap);
    json.at("best_step").get_to(state.best_step);
    json.at("bad_steps").get_to(state.bad_steps);
    json.at("bad_images").get_to(state.bad_images);
    json.at("train_images").get_to(state.train_images);
    json.at("config").get_to(state.config);
    json.at("category_ids").get_to(state.categories.ids);
    json.at("category_names").get_to(state.categories.names);
    if (state.categories.ids.size() != state.categories.names.size()) {
      return corrupt(key, "its metadata name more or fewer categories than they number");
    }
    return state;
  } catch (const Json::exception& error) {
    return corrupt(key, fmt::format("its metadata is damaged: {}", error.what()));
  }
}

std::optional<int64_t> step_of(std::string_view key) {
  if (!key.starts_with(kPrefix) || !key.ends_with(kSuffix)) return std::nullopt;
  const auto digits = key.substr(kPrefix.size(), key.size() - kPrefix.size() - kSuffix.size());
  int64_t step = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return step;
}

// By step, newest first.
Result<std::map<int64_t, std::string, std::greater<>>> list_checkpoints(
    storage::ObjectStore& store) {
  std::map<int64_t, std::string, std::greater<>> found;
  ATOLL_TRY(store.list(kPrefix, [&](const storage::ObjectInfo& info) {
    if (const auto step = step_of(info.key)) found.emplace(*step, info.key);
    return true;
  }));
  return found;
}

}  // namespace

std::string checkpoint_key(int64_t step) {
  return fmt::format("{}{:08}{}", kPrefix, step, kSuffix);
}

Result<void> write_checkpoint(storage::ObjectStore& store,
                              const RunState& state,
                              const TensorMap& tensors) {
  Json json = to_json(state);
  json["checksum"] = checksum_text(json, tensors);
  return model::write_safetensors(
      store, checkpoint_key(state.step), tensors, {{kMetadataKey, to_text(json)}});
}

Result<Checkpoint> read_checkpoint(storage::ObjectStore& store, std::string_view key) {
  auto file = ATOLL_TRY(model::read_safetensors(store, key));
  const auto metadata = file.metadata.find(kMetadataKey);
  if (metadata == file.metadata.end()) return corrupt(key, "not a checkpoint of atoll");
  Json json = Json::parse(metadata->second, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return corrupt(key, "its metadata are no JSON object");
  // The version first: another one may have another checksum.
  RunState state = ATOLL_TRY(from_json(key, json));
  const Json sum = json.value("checksum", Json());
  json.erase("checksum");
  if (sum != checksum_text(json, file.tensors)) return corrupt(key, "the checksum is wrong");
  return Checkpoint{std::move(state), std::move(file.tensors)};
}

Result<FoundCheckpoint> newest_checkpoint(storage::ObjectStore& store) {
  FoundCheckpoint found;
  for (const auto& [step, key] : ATOLL_TRY(list_checkpoints(store))) {
    auto checkpoint = read_checkpoint(store, key);
    if (checkpoint) {
      found.checkpoint = *std::move(checkpoint);
      return found;
    }
    if (checkpoint.error().code != ErrorCode::kCorrupt) {
      return tl::unexpected(std::move(checkpoint).error());
    }
    found.damaged.push_back(checkpoint.error().to_string());
  }
  if (!found.damaged.empty()) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("all {} checkpoints in {} are damaged; the newest: {}",
                            found.damaged.size(),
                            store.uri(),
                            found.damaged.front()),
                "to start anew, remove checkpoints/ or choose another --out");
  }
  return found;
}

Result<void> prune_checkpoints(storage::ObjectStore& store, int64_t keep, int64_t best_step) {
  int64_t seen = 0;
  for (const auto& [step, key] : ATOLL_TRY(list_checkpoints(store))) {
    if (++seen > keep && step != best_step) ATOLL_TRY(store.remove(key));
  }
  return {};
}

TensorMap with_prefix_removed(const TensorMap& tensors, std::string_view prefix) {
  TensorMap result;
  const std::string start = fmt::format("{}.", prefix);
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(start)) result[name.substr(start.size())] = tensor;
  }
  return result;
}

void add_with_prefix(TensorMap& into, std::string_view prefix, const TensorMap& tensors) {
  for (const auto& [name, tensor] : tensors) into[fmt::format("{}.{}", prefix, name)] = tensor;
}

}  // namespace atl::train
