// A lock among the processes of a machine, for work that one of them does for all: a file that is there only
// while somebody holds the lock or waits for it. It ends with its holder, however that ends.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace atl::storage {

class FileLock {
 public:
  // Waits for whoever holds it; `on_wait` is called once, before the wait. Makes the folder. kCancelled on a stop;
  // else errors where the file cannot be made, or its file system knows no locks.
  static Result<FileLock> take(const std::string& path,
                               const std::stop_token& stop,
                               const std::function<void()>& on_wait = {});
  FileLock(FileLock&&) noexcept = default;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  FileLock(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  UniqueFd fd_;
};

}  // namespace atl::storage
