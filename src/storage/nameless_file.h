// A temporary file without a name: it is gone with its owner however the process ends. What is too
// long for memory is kept in one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "storage/storage.h"

namespace atl::storage {

// Where temporary files lie: $TMPDIR; but instead of /tmp, which may be memory, /var/tmp, which is a
// disk.
std::string temporary_directory();

// Reading and writing at different places may happen at the same time. Errors: kIo.
class NamelessFile {
 public:
  static Result<NamelessFile> create(const std::string& in = temporary_directory());

  // Makes the file longer where need be.
  Result<void> write_at(uint64_t offset, std::span<const std::byte> bytes);
  // kIo where the file ends before.
  Result<Blob> read_at(uint64_t offset, uint64_t size_bytes) const;
  // The first `size_bytes`, mapped: they fill memory only as they are read, and give it back. The map
  // outlives this object.
  Result<Blob> map(uint64_t size_bytes) const;

 private:
  NamelessFile(std::string in, UniqueFd fd) : in_(std::move(in)), fd_(std::move(fd)) {}
  std::string name() const { return "a temporary file in " + in_; }

  std::string in_;
  UniqueFd fd_;
};

}  // namespace atl::storage
