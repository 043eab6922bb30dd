#include "storage/cache/block_gathering.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "base/check.h"

namespace atl::storage {

BlockGathering::BlockGathering(uint64_t offset, uint64_t size_bytes, uint64_t pieces, Done done)
    : offset_(offset), size_bytes_(size_bytes), done_(std::move(done)), left_(pieces) {}

void BlockGathering::add(uint64_t at, Result<Blob> piece) {
  {
    const std::lock_guard lock(mutex_);
    if (piece) {
      pieces_.emplace(at, std::move(*piece));
    } else if (!failure_) {
      failure_ = std::move(piece).error();
    }
    if (--left_ > 0) return;
  }
  if (failure_) {
    done_(tl::unexpected(std::move(*failure_)));
  } else {
    done_(put_together());
  }
}

Blob BlockGathering::put_together() const {
  const uint64_t end = offset_ + size_bytes_;
  const auto wanted_of = [&](uint64_t at, const Blob& piece) {
    const uint64_t from = std::clamp(offset_, at, at + piece.size());
    const uint64_t to = std::clamp(end, from, at + piece.size());
    return piece.bytes().subspan(from - at, to - from);
  };
  if (pieces_.size() == 1) {
    const auto& [at, piece] = *pieces_.begin();
    const auto owner = std::make_shared<const Blob>(piece);
    const auto wanted = wanted_of(at, *owner);
    ATOLL_CHECK(wanted.size() == size_bytes_) << wanted.size() << " of " << size_bytes_;
    return Blob(owner, wanted);
  }
  const std::shared_ptr<std::byte[]> joined =
      std::make_shared_for_overwrite<std::byte[]>(size_bytes_);
  uint64_t filled = 0;
  for (const auto& [at, piece] : pieces_) {
    const auto wanted = wanted_of(at, piece);
    std::memcpy(joined.get() + filled, wanted.data(), wanted.size());
    filled += wanted.size();
  }
  ATOLL_CHECK(filled == size_bytes_) << filled << " of " << size_bytes_;
  return Blob(joined, std::span<const std::byte>(joined.get(), size_bytes_));
}

}  // namespace atl::storage
