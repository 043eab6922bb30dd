#include "storage/cache/read_ahead.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "storage/cache/block_parts.h"

namespace atl::storage {

using Clock = TransferEstimate::Clock;

uint64_t ReadAhead::share_bytes(uint64_t held) const {
  const std::lock_guard lock(mutex_);
  return share_of(held);
}

bool ReadAhead::reserve(uint64_t& held, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (ahead_bytes_ + bytes > max_bytes_) return false;
  if (held > 0 && held + bytes > share_of(held)) return false;
  if (held == 0) ++readers_;
  held += bytes;
  ahead_bytes_ += bytes;
  return true;
}

void ReadAhead::give_back(uint64_t& held, uint64_t bytes) {
  if (bytes == 0) return;
  const std::lock_guard lock(mutex_);
  held -= bytes;
  ahead_bytes_ -= bytes;
  if (held == 0) --readers_;
}

// A block that has been asked for.
struct ObjectReader::Piece {
  std::optional<Blob> bytes;
  std::optional<Error> failure;  // of an answer, while others may be on their way
  int answers_due = 0;
  int readers = 0;        // that wait for it; it is not dropped under them
  bool urgent = false;    // asked for as wanted now
  uint64_t reserved = 0;  // of the bound for what is ahead

  bool settled() const { return bytes || (failure && answers_due == 0); }
};

struct ObjectReader::State {
  mutable std::mutex mutex;
  std::condition_variable came;
  std::map<uint64_t, Piece> pieces;  // by block
  uint64_t next_offset = 0;          // where a sequential reader goes on
  uint64_t run_bytes = 0;            // read in order so far, without the read that jumped
  bool jumped = false;               // and not gone on for long since
  uint64_t ahead_end = 0;            // the first block that has not been asked for ahead
  uint64_t held = 0;                 // of the bound for what is ahead, by all pieces

  void take(uint64_t index, Result<Blob> block) {
    {
      const std::lock_guard lock(mutex);
      const auto found = pieces.find(index);
      if (found == pieces.end()) return;  // the reader has gone elsewhere
      Piece& piece = found->second;
      if (piece.answers_due == 0) return;  // an answer to an earlier piece of this place
      --piece.answers_due;
      if (block) {
        piece.bytes = std::move(*block);
      } else {
        piece.failure = std::move(block).error();
      }
    }
    came.notify_all();
  }
};

ObjectReader::ObjectReader(std::shared_ptr<ReadAhead> ahead,
                           std::shared_ptr<Remote> remote,
                           ObjectVersion version)
    : ahead_(std::move(ahead)),
      remote_(std::move(remote)),
      version_(std::move(version)),
      block_bytes_(ahead_->cache().options().block_bytes),
      state_(std::make_shared<State>()) {}

ObjectReader::~ObjectReader() {
  const std::lock_guard lock(state_->mutex);
  while (!state_->pieces.empty()) drop(state_->pieces.begin());
}

uint64_t ObjectReader::window_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return window();
}

// With the state's mutex held.
uint64_t ObjectReader::window() const {
  return std::min({2 * state_->run_bytes,
                   ahead_->estimate()->window_bytes(),
                   ahead_->share_bytes(state_->held)});
}

void ObjectReader::drop(std::map<uint64_t, Piece>::iterator piece) {
  ahead_->give_back(state_->held, piece->second.reserved);
  state_->pieces.erase(piece);
}

// Without the lock: what is there already comes in this very thread.
void ObjectReader::ask(uint64_t first, uint64_t count, BlockCache::Urgency urgency) {
  ahead_->cache().read_async(remote_,
                             version_,
                             first,
                             count,
                             urgency,
                             [state = state_, estimate = ahead_->estimate(), asked = Clock::now()](
                                 uint64_t index, Result<Blob> block) {
                               if (block) estimate->add(block->size(), asked, Clock::now());
                               state->take(index, std::move(block));
                             });
}

// Asks for the blocks [first, end) as wanted now, as far as they are neither here nor asked for so: what
// is only read ahead is asked for once more, so that the cache prefers it from now on.
void ObjectReader::ask_for_missing(uint64_t first, uint64_t end) {
  std::vector<std::pair<uint64_t, uint64_t>> runs;
  {
    const std::lock_guard lock(state_->mutex);
    for (uint64_t block = first; block < end; ++block) {
      Piece& piece = state_->pieces[block];
      ++piece.readers;
      const bool on_its_way = piece.answers_due > 0 && piece.urgent;
      if (piece.bytes || on_its_way) continue;
      piece.failure.reset();
      piece.urgent = true;
      ++piece.answers_due;
      if (!runs.empty() && runs.back().first + runs.back().second == block) {
        ++runs.back().second;
      } else {
        runs.emplace_back(block, 1);
      }
    }
  }
  for (const auto& [begin, count] : runs) ask(begin, count, BlockCache::Urgency::kNow);
}

// How far this reader has come in order; a jump begins anew and drops what was ahead. A block of slack: the
// kernel reads ahead, too, and its requests overtake each other. False: it has jumped, or not gone on for long since.
bool ObjectReader::adapt_window(uint64_t offset, uint64_t size_bytes) {
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  const uint64_t end = offset + size_bytes;
  const bool goes_on =
      offset + block_bytes_ >= state.next_offset && offset <= state.next_offset + block_bytes_;
  if (goes_on) {
    state.run_bytes += size_bytes;
    state.next_offset = std::max(state.next_offset, end);
    state.jumped = state.jumped && goes_by_parts(block_bytes_, state.run_bytes);
    return !state.jumped;
  }
  state.jumped = true;
  state.run_bytes = 0;
  state.next_offset = end;
  state.ahead_end = 0;
  drop_outside(offset / block_bytes_, (end + block_bytes_ - 1) / block_bytes_);
  return false;
}

bool ObjectReader::has_any(uint64_t first, uint64_t end) const {
  const std::lock_guard lock(state_->mutex);
  const auto piece = state_->pieces.lower_bound(first);
  return piece != state_->pieces.end() && piece->first < end;
}

void ObjectReader::drop_outside(uint64_t first, uint64_t end) {
  auto& pieces = state_->pieces;
  for (auto piece = pieces.begin(); piece != pieces.end();) {
    const auto next = std::next(piece);
    const bool inside = piece->first >= first && piece->first < end;
    if (!inside && piece->second.readers == 0) drop(piece);
    piece = next;
  }
}

void ObjectReader::ask_ahead(uint64_t from_block, uint64_t end_bytes) {
  uint64_t first = 0;
  uint64_t count = 0;
  {
    const std::lock_guard lock(state_->mutex);
    const uint64_t window = this->window();
    const uint64_t end_block =
        (std::min(end_bytes + window, version_.size_bytes) + block_bytes_ - 1) / block_bytes_;
    first = std::max(from_block, state_->ahead_end);
    while (first < end_block && state_->pieces.contains(first)) ++first;
    // In pieces that are worth a request; the rest comes with the next read.
    const uint64_t worth =
        std::min(window / 2, ahead_->cache().options().max_fetch_bytes) / block_bytes_;
    const bool at_the_end = end_block * block_bytes_ >= version_.size_bytes;
    if (first >= end_block || (end_block - first < worth && !at_the_end)) return;
    for (; first + count < end_block; ++count) {
      const uint64_t block = first + count;
      const uint64_t bytes = std::min(block_bytes_, version_.size_bytes - block * block_bytes_);
      if (state_->pieces.contains(block) || !ahead_->reserve(state_->held, bytes)) break;
      Piece& piece = state_->pieces[block];
      piece.reserved = bytes;
      piece.answers_due = 1;
    }
    state_->ahead_end = first + count;
  }
  if (count > 0) ask(first, count, BlockCache::Urgency::kAhead);
}

Result<Blob> ObjectReader::put_together(uint64_t offset, uint64_t size_bytes) {
  State& state = *state_;
  const uint64_t first = offset / block_bytes_;
  const uint64_t end = (offset + size_bytes + block_bytes_ - 1) / block_bytes_;
  std::unique_lock lock(state.mutex);
  std::optional<Error> failure;
  std::vector<Blob> blocks;
  for (uint64_t block = first; block < end; ++block) {
    Piece& piece = state.pieces.at(block);
    state.came.wait(lock, [&] { return piece.settled(); });
    if (!piece.bytes && !failure) failure = piece.failure;
    if (piece.bytes) blocks.push_back(*piece.bytes);
  }
  for (uint64_t block = first; block < end; ++block) {
    const auto piece = state.pieces.find(block);
    if (--piece->second.readers == 0 && !piece->second.bytes) drop(piece);
  }
  if (failure) return tl::unexpected(std::move(*failure));
  // The block in which the reader stands stays, and what is ahead of it.
  drop_outside(state.next_offset / block_bytes_, std::max(state.ahead_end, end));
  lock.unlock();
  const uint64_t skip = offset - first * block_bytes_;
  if (blocks.size() == 1) {
    const auto owner = std::make_shared<const Blob>(std::move(blocks.front()));
    return Blob(owner, owner->bytes().subspan(skip, size_bytes));
  }
  const std::shared_ptr<std::byte[]> buffer(new std::byte[size_bytes]);  // not zeroed first
  uint64_t done = 0;
  for (const Blob& block : blocks) {
    const auto bytes = block.bytes().subspan(done == 0 ? skip : 0);
    const uint64_t size = std::min<uint64_t>(bytes.size(), size_bytes - done);
    std::memcpy(buffer.get() + done, bytes.data(), size);
    done += size;
  }
  return Blob(buffer, std::span<const std::byte>(buffer.get(), size_bytes));
}

Result<Blob> ObjectReader::read(uint64_t offset, uint64_t size_bytes) {
  offset = std::min(offset, version_.size_bytes);
  size_bytes = std::min(size_bytes, version_.size_bytes - offset);
  if (size_bytes == 0) return Blob();
  const uint64_t first_block = offset / block_bytes_;
  const uint64_t end_block = (offset + size_bytes + block_bytes_ - 1) / block_bytes_;
  if (!adapt_window(offset, size_bytes) && !has_any(first_block, end_block)) {
    return ahead_->cache().read(remote_, version_, offset, size_bytes);
  }
  ask_for_missing(first_block, end_block);
  ask_ahead(end_block, offset + size_bytes);
  return put_together(offset, size_bytes);
}

}  // namespace atl::storage
