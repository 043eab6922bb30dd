// A channel's data on this machine, as a training program finds them in its folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/remote.h"

namespace atl::sagemaker {

struct StagedData {
  uint64_t files = 0;
  uint64_t bytes = 0;
  uint64_t files_in_all = 0;
  uint64_t bytes_in_all = 0;  // 0: not known
};

// Host `index` of `count` gets every count-th object, in the order of the keys.
struct Shard {
  size_t index = 0;
  size_t count = 1;
};

using StageProgress =
    std::function<void(const StagedData& so_far)>;  // from any thread, one at a time

// Every object of `remote` as a file below `folder`, which is made. Several objects at a time; each file is there whole or not
// at all. Keys that end in '/' mark folders and are passed over.
// Errors: those of the bucket; kUnsupported: a key that no file can have; kNotFound: no object at all; kCancelled.
Result<StagedData> download_objects(storage::Remote& remote,
                                    const std::filesystem::path& folder,
                                    const Shard& shard,
                                    const StageProgress& progress,
                                    const std::stop_token& stop);

// One object as a file in `folder`, under the last part of its key.
Result<StagedData> download_object(storage::Remote& remote,
                                   std::string_view key,
                                   const std::filesystem::path& folder,
                                   const StageProgress& progress,
                                   const std::stop_token& stop);

// The files of a folder of this machine below another one: as further names of the same files where one file system has both,
// else as copies. Links in it are followed, once, for they are the owner's.
Result<StagedData> copy_folder(const std::filesystem::path& from,
                               const std::filesystem::path& folder,
                               const Shard& shard,
                               const StageProgress& progress,
                               const std::stop_token& stop);

// What a channel names: s3://BUCKET/PREFIX, an object (whose name nothing lies below), or a folder of this machine.
Result<StagedData> stage_data(const std::string& source,
                              const std::filesystem::path& folder,
                              const Shard& shard,
                              const StageProgress& progress,
                              const std::stop_token& stop);

}  // namespace atl::sagemaker
