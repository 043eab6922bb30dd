// How a bucket is mounted, as `atoll fs mount` and /etc/fstab say it: options "key" or "key=value", with
// one meaning wherever they stand.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "fs/file_layer.h"

namespace atl::fs {

struct MountSettings {
  bool read_only = false;
  bool allow_other = false;
  std::optional<uint32_t> uid;  // of what carries no metadata; else root's
  std::optional<uint32_t> gid;
  uint32_t umask = 0022;
  ExportPolicy exports = ExportPolicy::kOnClose;
  ConflictPolicy conflicts = ConflictPolicy::kKeepBoth;
  PosixMetadata metadata = PosixMetadata::kAuto;
  bool fsync_to_bucket = false;
  storage::ImportPolicy imports;
  std::chrono::seconds import_interval{60};
  std::string events_queue;  // URL of the SQS queue that hears of the bucket's changes; "": none
  std::chrono::seconds max_age{60};
  std::string state_directory;  // "": the default for this user and bucket
  // Of the bucket; "": as the environment has it.
  std::string endpoint_url;
  std::string region;
  std::string profile;
  bool no_sign_request = false;
  std::string cache_directory;
  std::optional<uint64_t> cache_bytes;
  std::string log_file;  // "": beside the state
  std::vector<std::string> kernel_options;
};

// What an option is, for the help. `type`: what its value is, "" for a switch. Those of the bucket itself
// (endpoint_url, region, profile, no_sign_request, cache_dir, cache_size) are every command's, and not in here.
struct MountOption {
  std::string_view key;
  std::string_view type;
  std::string_view help;
};
const std::vector<MountOption>& mount_options();

// kInvalidInput for one that is not known or has a value that it does not take. What mount(8) and systemd
// keep for themselves (_netdev, nofail, x-…) is passed over.
Result<void> apply_mount_option(MountSettings& settings, std::string_view option);
// A list as -o has it, divided by commas; "\," is a comma within a value.
std::vector<std::string> split_mount_options(std::string_view list);

}  // namespace atl::fs
