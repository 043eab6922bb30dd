// Bytes that come piece by piece, their number unknown until the last, kept out of memory: they go
// to a temporary file without a name, which is gone with the spool however the process ends.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"
#include "storage/storage.h"

namespace atl::storage {

// Not thread safe.
class Spool {
 public:
  // Where the file lies: $TMPDIR; but instead of /tmp, which may be memory, /var/tmp, which is a disk.
  static std::string directory();
  static Result<Spool> create(const std::string& in = directory());

  // kIo: the disk is full, …; nothing more can be added then.
  Result<void> add(std::string_view bytes);
  // Everything that was added, mapped: it fills memory only as it is read, and gives it back.
  Result<Blob> finish() &&;

 private:
  Spool(std::string in, UniqueFd fd) : in_(std::move(in)), fd_(std::move(fd)) {}
  Result<void> write_out();

  std::string in_;
  UniqueFd fd_;
  std::string waiting_;  // bounded
  uint64_t written_bytes_ = 0;
};

}  // namespace atl::storage
