#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/crc32c.h"
#include "model/safetensors.h"

namespace atl::train {
namespace {

struct Step {
  std::vector<std::string> keys;  // but the manifest
  bool manifest = false;
  bool single_file = false;
};

// Newest first.
Result<std::map<int64_t, Step, std::greater<>>> list_steps(storage::ObjectStore& store) {
  std::map<int64_t, Step, std::greater<>> steps;
  ATOLL_TRY(store.list(kCheckpointPrefix, [&](const storage::ObjectInfo& info) {
    const auto key = parse_checkpoint_key(info.key);
    if (!key) return true;
    Step& step = steps[key->step];
    step.manifest |= key->manifest;
    step.single_file |= key->single_file;
    if (!key->manifest && !key->single_file) step.keys.push_back(info.key);
    return true;
  }));
  return steps;
}

// Its manifest first: what is left then is no checkpoint.
Result<void> remove_step(storage::ObjectStore& store, int64_t step, const Step& found) {
  if (found.manifest) ATOLL_TRY(store.remove(manifest_key(step)));
  for (const std::string& key : found.keys) ATOLL_TRY(store.remove(key));
  return {};
}

tl::unexpected<Error> corrupt(std::string_view name, std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("{}: {}", name, what));
}

TensorKind kind_of(const at::Tensor& tensor) {
  const auto dtype = model::safetensors_dtype(tensor.scalar_type());
  // One that cannot be stored makes write_shard() fail.
  return {dtype.value_or(""), tensor.sizes().vec()};
}

Result<void> check_tensors(const TensorMap& found,
                           const std::map<std::string, TensorKind>& wanted,
                           std::string_view name) {
  for (const auto& [tensor, kind] : wanted) {
    const auto there = found.find(tensor);
    if (there == found.end()) return corrupt(name, fmt::format("tensor {} is missing", tensor));
    if (kind_of(there->second) != kind) {
      return corrupt(
          name, fmt::format("tensor {} has another shape or type than the manifest says", tensor));
    }
  }
  for (const auto& [tensor, value] : found) {
    if (!wanted.contains(tensor)) {
      return corrupt(name, fmt::format("tensor {} is not in the manifest", tensor));
    }
  }
  return {};
}

Result<TensorMap> read_shard(storage::ObjectStore& store,
                             const std::string& key,
                             const ManifestShard& shard) {
  const auto blob = store.get(key);
  const std::string name = fmt::format("{}/{}", store.uri(), key);
  if (!blob) {
    if (blob.error().code != ErrorCode::kNotFound) return tl::unexpected(blob.error());
    return corrupt(name, "this shard is missing");
  }
  if (blob->size() != shard.written.size_bytes) {
    return corrupt(name,
                   fmt::format("{} bytes instead of {}", blob->size(), shard.written.size_bytes));
  }
  if (crc32c(blob->bytes()) != shard.written.crc32c) return corrupt(name, "the checksum is wrong");
  auto file = ATOLL_TRY(model::parse_safetensors(*blob, name));
  ATOLL_TRY(check_tensors(file.tensors, shard.tensors, name));
  return std::move(file.tensors);
}

}  // namespace

std::vector<TensorMap> divide_into_shards(const TensorMap& tensors, size_t shards) {
  std::vector<uint64_t> sizes;
  sizes.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) sizes.push_back(tensor.nbytes());
  const auto parts = divide_by_bytes(sizes, shards);
  std::vector<TensorMap> divided(shards);
  size_t index = 0;
  for (const auto& [name, tensor] : tensors) divided[parts[index++]].emplace(name, tensor);
  return divided;
}

Result<WrittenShard> write_shard(storage::ObjectStore& store,
                                 int64_t step,
                                 size_t shard,
                                 size_t shards,
                                 const TensorMap& tensors) {
  const std::string key = shard_key(step, shard, shards);
  const auto pieces = ATOLL_TRY(model::make_safetensors(tensors, {}, key));
  WrittenShard written;
  const auto parts = pieces.parts();
  for (const auto part : parts) {
    written.size_bytes += part.size();
    written.crc32c = crc32c(part, written.crc32c);
  }
  ATOLL_TRY(store.put(key, parts));
  return written;
}

Manifest make_manifest(const RunState& state, std::span<const TensorMap> divided) {
  Manifest manifest{state, {}};
  for (const auto& shard : divided) {
    auto& kinds = manifest.shards.emplace_back().tensors;
    for (const auto& [name, tensor] : shard) kinds.emplace(name, kind_of(tensor));
  }
  return manifest;
}

Result<void> write_manifest(storage::ObjectStore& store, const Manifest& manifest) {
  return storage::put_text(store, manifest_key(manifest.state.step), to_text(manifest));
}

Result<void> write_checkpoint(storage::ObjectStore& store,
                              const RunState& state,
                              const TensorMap& tensors,
                              size_t shards) {
  const auto divided = divide_into_shards(tensors, shards);
  auto manifest = make_manifest(state, divided);
  for (size_t shard = 0; shard < shards; ++shard) {
    manifest.shards[shard].written =
        ATOLL_TRY(write_shard(store, state.step, shard, shards, divided[shard]));
  }
  return write_manifest(store, manifest);
}

Result<Checkpoint> read_checkpoint(storage::ObjectStore& store, int64_t step) {
  const std::string key = manifest_key(step);
  const std::string name = fmt::format("{}/{}", store.uri(), key);
  const auto text = ATOLL_TRY(store.get(key));
  auto manifest = ATOLL_TRY(manifest_from_text(text.text(), name));
  if (manifest.state.step != step) {
    return corrupt(name, fmt::format("it is that of step {}", manifest.state.step));
  }
  Checkpoint checkpoint{std::move(manifest.state), {}};
  for (size_t shard = 0; shard < manifest.shards.size(); ++shard) {
    auto tensors = ATOLL_TRY(
        read_shard(store, shard_key(step, shard, manifest.shards.size()), manifest.shards[shard]));
    checkpoint.tensors.merge(tensors);  // no name is in two of them
  }
  return checkpoint;
}

Result<std::vector<int64_t>> list_checkpoints(storage::ObjectStore& store) {
  std::vector<int64_t> steps;
  for (const auto& [step, found] : ATOLL_TRY(list_steps(store))) {
    if (found.manifest) steps.push_back(step);
  }
  return steps;
}

Result<FoundCheckpoint> newest_checkpoint(storage::ObjectStore& store) {
  FoundCheckpoint found;
  bool single_file = false;
  for (const auto& [step, there] : ATOLL_TRY(list_steps(store))) {
    single_file |= there.single_file;
    if (!there.manifest) continue;
    auto checkpoint = read_checkpoint(store, step);
    if (checkpoint) {
      found.checkpoint = *std::move(checkpoint);
      return found;
    }
    const Error& error = checkpoint.error();
    if (error.code != ErrorCode::kCorrupt) return tl::unexpected(error);
    found.damaged.push_back({step, error.to_string()});
  }
  constexpr const char* kAnew = "to start anew, remove checkpoints/ or choose another --out";
  if (!found.damaged.empty()) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("all {} checkpoints in {} are damaged; the newest: {}",
                            found.damaged.size(),
                            store.uri(),
                            found.damaged.front().reason),
                kAnew);
  }
  if (single_file) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("the checkpoints in {} are of an older version of atoll, one file each",
                            store.uri()),
                kAnew);
  }
  return found;
}

Result<void> remove_checkpoint(storage::ObjectStore& store, int64_t step) {
  const auto steps = ATOLL_TRY(list_steps(store));
  const auto found = steps.find(step);
  return found == steps.end() ? Result<void>() : remove_step(store, step, found->second);
}

Result<void> prune_checkpoints(storage::ObjectStore& store,
                               int64_t keep,
                               int64_t best_step,
                               int64_t newest) {
  int64_t seen = 0;
  for (const auto& [step, found] : ATOLL_TRY(list_steps(store))) {
    if (step > newest) continue;
    if (found.manifest && (++seen <= keep || step == best_step)) continue;
    ATOLL_TRY(remove_step(store, step, found));
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
