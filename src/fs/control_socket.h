// The daemon's side and the command's side of the control channel: a Unix socket, 0600, in the directory
// of the layer's state.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "fs/control_jobs.h"
#include "fs/control_message.h"

namespace atl::fs {

struct ControlHooks {
  std::function<DaemonInfo()> info;
  // Takes the mount out of the kernel.
  std::function<Result<void>(bool lazily)> unmount;
  bool export_after_unmount = true;  // what is not exported yet
};

// Answers each connection in a thread of its own, at most 16 at a time. A client that hangs up, sends
// what is no request or does not read for ten seconds is dropped, and what it had asked for stopped.
class ControlServer {
 public:
  // The socket of a daemon that died is replaced: whoever has the layer open is the only one.
  static Result<std::unique_ptr<ControlServer>> start(const std::string& directory,
                                                      FileLayer& layer,
                                                      ControlHooks hooks);
  // Stops what is under way and waits for it.
  virtual ~ControlServer() = default;
  // Waits for the unmounts under way, with the exports that belong to them. Returns whether there were
  // any.
  virtual bool finish_unmounts() = 0;
};

// Asks the daemon that has this directory; false: there is none. Replies come until kDone or kError,
// which is the last; an error of the channel itself is the result's.
Result<bool> ask_daemon(const std::string& directory,
                        const ControlRequest& request,
                        const std::stop_token& stop,
                        const OnReply& reply);

// Returns when this process has ended, or `stop` is requested.
Result<void> wait_for_end(int64_t pid, const std::stop_token& stop);

}  // namespace atl::fs
