// Puts a FileLayer into the kernel: one mounted file system, served by libfuse's threads.
//
// The kernel keeps names, attributes and file contents for as long as `attribute_timeout`, and drops
// them sooner where the layer tells of a change. There is no write-back cache: with it the kernel
// believes its own sizes and times for ever, so a file that has changed in the bucket would never be
// seen to. A write is in the layer when write(2) returns.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "fs/file_layer.h"

namespace atl::fs {

struct FuseServerOptions {
  std::string mount_point;  // a directory
  std::string source;       // what `mount` and `df` show: "s3://bucket/prefix"
  bool read_only = false;
  bool allow_other = false;                 // users other than the one who mounts
  std::vector<std::string> kernel_options;  // "noatime", "nodev", "dirsync", …: passed on
  std::chrono::milliseconds attribute_timeout{60'000};
  // Requests that wait for the bucket hold a thread each.
  int max_threads = 64;
  uint64_t read_ahead_bytes = uint64_t{4} << 20;  // the kernel's; only root may change it
  // Extended attributes that the root answers besides its own and does not list.
  std::map<std::string, std::string, std::less<>> root_xattrs;
  std::function<void(std::string_view line)> log;  // errors' reasons; from any thread; may be null
};

class FuseServer {
 public:
  // Mounts; from now on callers wait, until serve() runs. A dead mount in the way (its server crashed) is
  // cleaned away. kInvalidInput: no directory, or something living is mounted there; kPermission: FUSE is
  // not ours to use; kUnsupported: this kernel has none.
  static Result<std::unique_ptr<FuseServer>> mount(FileLayer& layer, FuseServerOptions options);
  // Unmounts, also where files are still open: their next use is ENOTCONN.
  virtual ~FuseServer() = default;

  // Answers until somebody unmounts or `stop` is requested, from this thread and others; once. Calls
  // `on_ready` when the first request has been answered. Meanwhile SIGUSR1 of this thread is the
  // server's own.
  virtual Result<void> serve(std::stop_token stop, std::function<void()> on_ready) = 0;
};

}  // namespace atl::fs
