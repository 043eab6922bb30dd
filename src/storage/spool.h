// Bytes that come piece by piece, their number unknown until the last, kept out of memory in a file
// without a name.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/nameless_file.h"
#include "storage/storage.h"

namespace atl::storage {

// Not thread safe.
class Spool {
 public:
  static Result<Spool> create(const std::string& in = temporary_directory());

  // kIo: the disk is full, …; nothing more can be added then.
  Result<void> add(std::string_view bytes);
  // Everything that was added, mapped: it fills memory only as it is read, and gives it back.
  Result<Blob> finish() &&;

 private:
  explicit Spool(NamelessFile file) : file_(std::move(file)) {}
  Result<void> write_out();

  NamelessFile file_;
  std::string waiting_;  // bounded
  uint64_t written_bytes_ = 0;
};

}  // namespace atl::storage
