// A mount from its beginning to its end: in the kernel, with the control channel beside it, until somebody
// unmounts or stops it; then what is not exported yet is exported, within a minute.
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "fs/file_layer.h"
#include "fs/fuse_server.h"

namespace atl::fs {

// The root of a mount answers it with the directory of the layer's state, where the control channel is.
inline constexpr const char* kStateXattr = "user.atoll.state";

struct MountSessionOptions {
  FuseServerOptions server;
  std::string state_directory;  // of the control socket
  std::string log_file;         // what `atoll fs status` names
  bool export_at_end = true;
  std::chrono::seconds export_patience{60};
};

// Returns when it has ended. What could not be exported is in the journal for the next mount.
Result<void> run_mount_session(FileLayer& layer,
                               MountSessionOptions options,
                               std::stop_token stop,
                               std::function<void()> on_ready);

}  // namespace atl::fs
