// What a command of `atoll fs` is to work on: something below a mount, or a bucket by its URI.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "fs/control_jobs.h"
#include "fs/control_message.h"
#include "fs/mount_settings.h"

namespace atl::cli {

struct FsTarget {
  std::string uri;              // "" for a path in a mount
  std::string mount_point;      // "" for a URI
  std::string state_directory;  // "" for a URI: known once the bucket is open
  std::string path;             // below the root of the mount or of the bucket
};

bool is_bucket_uri(std::string_view text);

// `text`: "s3://bucket/prefix", or a path in a mount of ours. kInvalidInput for any other path; a mount
// whose daemon is dead is said to be so.
Result<FsTarget> find_target(const std::string& text);

// The state directory of a mount, from its root.
Result<std::string> state_of_mount(const std::string& mount_point);

// Runs a request: by the daemon that has the bucket mounted, and where there is none by this process, which
// opens the layer with these settings. Replies but the last go to `reply`; kDone is the result, kError
// its error.
Result<fs::ControlReply> run_request(const FsTarget& target,
                                     const fs::ControlRequest& request,
                                     const fs::MountSettings& settings,
                                     const std::stop_token& stop,
                                     const std::function<void(const fs::ControlReply&)>& reply);

// A name as a terminal may show it: control characters, backslashes and what is no UTF-8 as \n, \\, \xff.
std::string shown_name(std::string_view name);

}  // namespace atl::cli
