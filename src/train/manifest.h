// What a checkpoint is made of: shards, each a safetensors file that one rank writes, and a manifest that is
// written last. Without a manifest there is no checkpoint, whatever shards lie there.
//
//   checkpoints/step-00000400.manifest.json
//   checkpoints/step-00000400.shard-00000-of-00002.safetensors
//   checkpoints/step-00000400.shard-00001-of-00002.safetensors
//
//   {"format": "atoll.checkpoint", "version": 1, "state": {RunState}, "shards": [{"bytes": 123, "crc32c": "0a1b2c3d",
//    "tensors": {"model.NAME": {"dtype": "F32", "shape": [64, 3, 7, 7]}, …}}, …], "crc32c": "…"}
//
// in one line, whose last value is the checksum of everything before its key. Names lie beside each other instead of in
// a folder for each step: a store has no folders, and on a disk none is left behind, half written or empty.
//
// No torch here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "train/run_state.h"

namespace atl::train {

struct TensorKind {
  std::string dtype;  // as in safetensors: "F32"
  std::vector<int64_t> shape;
  friend bool operator==(const TensorKind&, const TensorKind&) = default;
};

// What its writer knows when it is there.
struct WrittenShard {
  uint64_t size_bytes = 0;
  uint32_t crc32c = 0;  // of the whole file
  friend bool operator==(const WrittenShard&, const WrittenShard&) = default;
};

struct ManifestShard {
  WrittenShard written;
  std::map<std::string, TensorKind> tensors;
  friend bool operator==(const ManifestShard&, const ManifestShard&) = default;
};

struct Manifest {
  RunState state;
  std::vector<ManifestShard> shards;  // by number
  friend bool operator==(const Manifest&, const Manifest&) = default;
};

constexpr std::string_view kCheckpointPrefix = "checkpoints/step-";

std::string manifest_key(int64_t step);
std::string shard_key(int64_t step, size_t shard, size_t shards);
struct CheckpointKey {
  int64_t step = 0;
  bool manifest = false;
  bool single_file = false;  // as older versions wrote them
};
// nullopt: not of a checkpoint.
std::optional<CheckpointKey> parse_checkpoint_key(std::string_view key);

std::string to_text(const Manifest& manifest);
// kCorrupt: cut, altered, or what it says cannot be; kUnsupported: of another version. `name` is for messages.
Result<Manifest> manifest_from_text(std::string_view text, std::string_view name);
// The text of a manifest from that of a JSON object without the checksum, as to_text() does it; for tests.
std::string sealed_manifest(std::string_view json);

// In which of `parts` each of the things goes, so that parts are of about the same size: the largest first, each into
// the part that has the least so far. Depends on the sizes and their order alone.
std::vector<size_t> divide_by_bytes(std::span<const uint64_t> sizes_bytes, size_t parts);

}  // namespace atl::train
