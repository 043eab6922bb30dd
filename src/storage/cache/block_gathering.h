// Pieces of an object, blocks or parts of them, that come in any order from any threads, put together to the bytes that
// somebody wants of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "storage/storage.h"

namespace atl::storage {

// Thread safe.
class BlockGathering {
 public:
  using Done = std::function<void(Result<Blob>)>;

  // The bytes [offset, offset + size) out of so many pieces, at least one. `done` comes once, with the last of them: one piece
  // without a copy; the first error where there was one.
  BlockGathering(uint64_t offset, uint64_t size_bytes, uint64_t pieces, Done done);
  // `at`: where in the object it begins.
  void add(uint64_t at, Result<Blob> piece);

 private:
  Blob put_together() const;

  const uint64_t offset_;
  const uint64_t size_bytes_;
  const Done done_;
  std::mutex mutex_;
  uint64_t left_;
  std::map<uint64_t, Blob> pieces_;
  std::optional<Error> failure_;
};

}  // namespace atl::storage
