#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cstring>

#include "model/safetensors.h"

namespace atl::train {
namespace {

constexpr std::string_view kPrefix = "checkpoints/step-";
constexpr std::string_view kSuffix = ".safetensors";
constexpr const char* kMetadataKey = "atoll.checkpoint";

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

// Of the tensors and of the metadata as they are written, so that a digit that changed shows, too.
std::string checksum(std::string_view state, const TensorMap& tensors) {
  uint64_t hash = hash_bytes(1, state.data(), state.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor plain = tensor.detach().to(at::kCPU).contiguous();
    hash = hash_bytes(hash, name.data(), name.size());
    hash = hash_bytes(hash, plain.const_data_ptr(), plain.nbytes());
  }
  return fmt::format("{:016x}", hash);
}

ChecksumOf checksum_with(const TensorMap& tensors) {
  return [&tensors](std::string_view state) { return checksum(state, tensors); };
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
  return model::write_safetensors(store,
                                  checkpoint_key(state.step),
                                  tensors,
                                  {{kMetadataKey, to_json(state, checksum_with(tensors))}});
}

Result<Checkpoint> read_checkpoint(storage::ObjectStore& store, std::string_view key) {
  auto file = ATOLL_TRY(model::read_safetensors(store, key));
  const auto metadata = file.metadata.find(kMetadataKey);
  if (metadata == file.metadata.end()) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: not a checkpoint of atoll", key));
  }
  RunState state =
      ATOLL_TRY(run_state_from_json(metadata->second, key, checksum_with(file.tensors)));
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
