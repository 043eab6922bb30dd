// Memory that bodies are received into, used again: 8 MiB fresh from the system cost 2048 page faults, which
// is a good part of the time in which a fast connection fills them.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace atl::storage {

// Thread safe.
class ReceiveBuffers : public std::enable_shared_from_this<ReceiveBuffers> {
 public:
  // How much unused memory to keep.
  static std::shared_ptr<ReceiveBuffers> make(size_t max_kept_bytes);

  struct Buffer {
    std::shared_ptr<const void> owner;  // the last copy gives the memory back
    std::span<std::byte> bytes;
  };
  // Not initialised.
  Buffer take(size_t size_bytes);
  size_t kept_bytes() const;

 private:
  struct Memory {
    std::unique_ptr<std::byte[]> bytes;
    size_t size_bytes = 0;
  };
  explicit ReceiveBuffers(size_t max_kept_bytes) : max_kept_bytes_(max_kept_bytes) {}
  void give_back(Memory memory);

  const size_t max_kept_bytes_;
  mutable std::mutex mutex_;
  size_t kept_bytes_ = 0;
  std::vector<Memory> kept_;
};

}  // namespace atl::storage
