// Going into the background, as a mount does: the caller waits until the daemon is ready, or has said why
// it is not.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace atl::fs {

class Daemon {
 public:
  // Before any thread is started. In the daemon: itself, in a session and in "/" of its own. In the
  // caller: nullopt when the daemon is ready, or the error that it has reported.
  static Result<std::optional<Daemon>> start();

  // Lets the caller go, and standard output and error go to the log from now on.
  Result<void> ready(const std::string& log_file);
  // Instead of ready(): the caller ends with this error.
  void failed(const Error& error);

 private:
  explicit Daemon(UniqueFd caller) : caller_(std::move(caller)) {}
  UniqueFd caller_;  // a pipe
};

// Lines with the time in front, appended to a file, or to standard error where `file` is "". Thread safe.
class Log {
 public:
  static Result<Log> open(const std::string& file);
  void line(std::string_view text) const;

 private:
  explicit Log(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace atl::fs
