// What is mounted where, and how it is unmounted; nothing of FUSE's own protocol.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::fs {

// The type that /proc/self/mountinfo shows.
inline constexpr std::string_view kMountType = "fuse.atoll";

struct Mount {
  std::string point;   // an absolute path
  std::string type;    // "fuse.atoll", "ext4", …
  std::string source;  // "s3://bucket/prefix", "/dev/vda", …
  std::string device;  // "0:47", as /sys/class/bdi has it
};

// Lines of /proc/self/mountinfo that make no sense are left out.
std::vector<Mount> parse_mounts(std::string_view mountinfo);
Result<std::vector<Mount>> mounts();

// A path that may name a mount whose server is dead: absolute, with links and ".." of everything but its
// last component resolved.
Result<std::string> absolute_path(const std::string& path);

// What is mounted at this very path, on top of what else is.
std::optional<Mount> mounted_at(const std::vector<Mount>& mounts, std::string_view absolute);
// The mount below which the path lies.
std::optional<Mount> mount_of(const std::vector<Mount>& mounts, std::string_view absolute);

// Whether the server of what is mounted there is gone.
bool is_dead(const std::string& mount_point);

// kInvalidInput where something living of ours is mounted at this path.
Result<void> check_not_mounted(const std::string& mount_point);

// By umount(2), or fusermount3 where we are not root. `lazily`: also while it is in use. kConflict: it
// is in use.
Result<void> unmount(const std::string& mount_point, bool lazily);

// Unmounts dead mounts of ours at this path, all that lie on each other. Returns how many.
Result<int> clear_dead_mounts(const std::string& mount_point);

}  // namespace atl::fs
