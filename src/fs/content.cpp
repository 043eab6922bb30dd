#include "fs/content.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace atl::fs {

using storage::Blob;
using storage::ObjectVersion;

namespace {

constexpr uint64_t kMaxFileBytes = std::numeric_limits<int64_t>::max();

struct Buffer {
  std::shared_ptr<std::byte[]> bytes;
  uint64_t size = 0;
  explicit Buffer(uint64_t n) : bytes(new std::byte[n]), size(n) {}  // not zeroed first
  std::span<std::byte> span(uint64_t offset, uint64_t n) const { return {bytes.get() + offset, n}; }
  Blob blob(uint64_t n) const { return {bytes, std::span<const std::byte>(bytes.get(), n)}; }
};

tl::unexpected<FsError> fail_short(const Base& base) {
  return fail_fs(EIO, base.key + ": a block of it is shorter than the object says");
}

Blob part_of(const Blob& whole, uint64_t offset, uint64_t size) {
  const auto owner = std::make_shared<const Blob>(whole);
  return {owner, owner->bytes().subspan(offset, size)};
}

}  // namespace

Content::State Content::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

uint64_t Content::size_bytes() const {
  const std::lock_guard lock(mutex_);
  return state_.size_bytes;
}

LocalFile Content::file() const {
  const std::lock_guard lock(mutex_);
  return file_;
}

void Content::set_file(LocalFile file) {
  const std::lock_guard lock(mutex_);
  file_ = std::move(file);
}

void Content::set_writable(LocalFile file) {
  const std::lock_guard lock(mutex_);
  file_ = std::move(file);
  writable_ = true;
}

bool Content::writable() const {
  const std::lock_guard lock(mutex_);
  return writable_;
}

bool Content::unsaved() const {
  const std::lock_guard lock(mutex_);
  return state_.version != saved_version_;
}

void Content::saved(uint64_t version) {
  const std::lock_guard lock(mutex_);
  saved_version_ = std::max(saved_version_, version);
}

bool Content::may_be_noted(const State& earlier) const {
  const std::lock_guard lock(mutex_);
  return earlier.version >= saved_version_ && earlier.base == state_.base;
}

bool Content::unsynced() const {
  const std::lock_guard lock(mutex_);
  return state_.version != synced_version_;
}

void Content::set_modified(int64_t modified_ns) {
  const std::lock_guard lock(mutex_);
  state_.modified_ns = modified_ns;
}

// Whether bytes could not be had because an export of our own has put them under another key or ETag meanwhile.
bool Content::has_moved(const Base& base, const FsError& error) const {
  if (error.error_number != ESTALE && error.error_number != ENOENT) return false;
  return state().base != base;
}

FsResult<FileBytes> Content::read(uint64_t offset, uint64_t size_bytes, ReadAhead* ahead) {
  for (int tries = 0;; ++tries) {
    State state;
    LocalFile file;
    {
      const std::lock_guard lock(mutex_);
      state.size_bytes = state_.size_bytes;
      state.base = state_.base;
      if (file_) state.present = state_.present;
      file = file_;
    }
    if (offset >= state.size_bytes || size_bytes == 0) return FileBytes{};
    const Range range{offset, offset + std::min(size_bytes, state.size_bytes - offset)};
    // Behind the base's limit all is local.
    std::vector<Extents::Piece> pieces;
    const uint64_t limit = state.base.key.empty() ? 0 : state.base.limit;
    if (range.begin < limit)
      pieces = state.present.pieces({range.begin, std::min(range.end, limit)});
    if (range.end > limit) pieces.push_back({{std::max(range.begin, limit), range.end}, true});
    auto bytes = read_pieces(pieces, range, state.base, file, ahead);
    constexpr int kMaxTries = 8;
    if (bytes || tries == kMaxTries || !has_moved(state.base, bytes.error())) return bytes;
  }
}

FsResult<FileBytes> Content::read_pieces(const std::vector<Extents::Piece>& pieces,
                                         Range range,
                                         const Base& base,
                                         const LocalFile& file,
                                         ReadAhead* ahead) {
  FileBytes result;
  result.size_bytes = range.end - range.begin;
  if (pieces.size() == 1 && pieces[0].present && file) {
    result.fd = file->get();
    result.fd_offset = range.begin;
    result.owner = file;
    return result;
  }
  if (pieces.size() == 1 && !pieces[0].present) {
    result.blob = ATOLL_TRY(read_base(base, range, ahead));
    result.size_bytes = result.blob.size();
    return result;
  }
  const Buffer buffer(range.end - range.begin);
  for (const auto& [piece, present] : pieces) {
    const auto into = buffer.span(piece.begin - range.begin, piece.end - piece.begin);
    if (present) {
      const uint64_t got = file ? ATOLL_TRY(shared_->files->read(file, piece.begin, into)) : 0;
      std::fill(into.begin() + static_cast<std::ptrdiff_t>(got), into.end(), std::byte{0});
    } else {
      const Blob bytes = ATOLL_TRY(read_base(base, piece, ahead));
      std::memcpy(into.data(), bytes.bytes().data(), into.size());
    }
  }
  result.blob = buffer.blob(buffer.size);
  return result;
}

FsResult<Blob> Content::read_base(const Base& base, Range range, ReadAhead* ahead) {
  BlockMemory& memory = *shared_->memory;
  const ObjectVersion version{base.key, base.etag, base.size_bytes};
  const uint64_t block_bytes = memory.block_bytes();
  const uint64_t first = range.begin / block_bytes;
  const uint64_t last = (range.end - 1) / block_bytes;
  ReadAhead::Window window;
  bool jumped = false;
  if (ahead != nullptr) {
    const std::lock_guard lock(ahead_mutex_);
    window = ahead->next(range.begin, range.end - range.begin, base.size_bytes, block_bytes);
    jumped = ahead->jumped();
  }
  if (jumped) {
    if (auto bytes = memory.read_apart(version, range.begin, range.end - range.begin)) {
      if (*bytes && (*bytes)->size() < range.end - range.begin) return fail_short(base);
      return fs_result(std::move(*bytes));
    }
  }
  if (window.blocks > 0) memory.read_ahead(version, window.first, window.blocks);
  if (last > first) memory.read_ahead(version, first, last - first + 1);
  bool waited = false;
  std::optional<Buffer> gathered;
  if (last > first) gathered.emplace(range.end - range.begin);
  Blob result;
  for (uint64_t block = first; block <= last; ++block) {
    const Blob bytes = ATOLL_TRY(fs_result(memory.get(version, block, waited)));
    const uint64_t begin = std::max(range.begin, block * block_bytes);
    const uint64_t end = std::min(range.end, (block + 1) * block_bytes);
    if (bytes.size() < end - block * block_bytes) {
      return fail_short(base);
    }
    if (!gathered) {
      result = part_of(bytes, begin - block * block_bytes, end - begin);
    } else {
      const auto from = bytes.bytes().subspan(begin - block * block_bytes, end - begin);
      std::memcpy(
          gathered->span(begin - range.begin, end - begin).data(), from.data(), from.size());
    }
  }
  if (waited && ahead != nullptr) {
    const std::lock_guard lock(ahead_mutex_);
    ahead->waited();
  }
  return gathered ? gathered->blob(gathered->size) : result;
}

void Content::wait_for_export(std::unique_lock<std::mutex>& lock) {
  while (exporting_) {
    if (!insisting_) stop_export_.request_stop();
    export_ended_.wait(lock);
  }
}

void Content::stop_export() {
  std::unique_lock lock(mutex_);
  wait_for_export(lock);
}

bool Content::exporting() const {
  const std::lock_guard lock(mutex_);
  return exporting_;
}

FsResult<Range> Content::write(std::optional<uint64_t> offset,
                               std::span<const std::byte> bytes,
                               int64_t now_ns) {
  std::unique_lock lock(mutex_);
  wait_for_export(lock);
  if (!writable_) return fail_fs(EAGAIN);
  const uint64_t begin = offset.value_or(state_.size_bytes);
  if (begin > kMaxFileBytes || bytes.size() > kMaxFileBytes - begin) return fail_fs(EFBIG);
  if (tail_is_garbage_) {
    ATOLL_TRY(shared_->files->set_size(file_, state_.size_bytes));
    tail_is_garbage_ = false;
  }
  if (bytes.empty()) return Range{begin, begin};
  const uint64_t n = ATOLL_TRY(shared_->files->write(file_, begin, bytes));
  // What a failed write may have left behind the end is cut off before the file grows again.
  if (n < bytes.size()) tail_is_garbage_ = begin + bytes.size() > state_.size_bytes;
  const Range written{begin, begin + n};
  if (begin < state_.base.limit) {
    state_.present.add({begin, std::min(written.end, state_.base.limit)});
  }
  state_.size_bytes = std::max(state_.size_bytes, written.end);
  state_.modified_ns = now_ns;
  ++state_.version;
  return written;
}

// Whether bytes that are not on the disk would be noted as here, as may get to the disk at once. With the lock.
FsResult<bool> Content::must_sync_before(uint64_t size_bytes) const {
  if (size_bytes == 0 || state_.version == synced_version_) return false;
  const bool cuts =
      size_bytes <= state_.size_bytes && ATOLL_TRY(shared_->files->size(file_)) > size_bytes;
  return cuts || !state_.present.empty();
}

FsResult<void> Content::sync_before(uint64_t size_bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (!ATOLL_TRY(must_sync_before(size_bytes))) return {};
  }
  return sync();
}

FsResult<void> Content::set_size(uint64_t size_bytes, int64_t now_ns, const JournalSize& journal) {
  if (size_bytes > kMaxFileBytes) return fail_fs(EFBIG);
  const std::lock_guard lock(mutex_);
  ATOLL_CHECK(file_ != nullptr && !exporting_) << "truncate without a local file or in an export";
  State next = state_;
  next.size_bytes = size_bytes;
  next.modified_ns = now_ns;
  next.base.limit = std::min(next.base.limit, size_bytes);
  next.present.clip(size_bytes);
  ++next.version;
  const bool grows = size_bytes > state_.size_bytes;
  if (grows) {
    if (tail_is_garbage_) ATOLL_TRY(shared_->files->set_size(file_, state_.size_bytes));
    tail_is_garbage_ = true;  // until the journal has it, too
    ATOLL_TRY(shared_->files->set_size(file_, size_bytes));
  }
  const bool cuts = !grows && ATOLL_TRY(shared_->files->size(file_)) > size_bytes;
  if (ATOLL_TRY(must_sync_before(size_bytes))) ATOLL_TRY(shared_->files->sync(file_));
  ATOLL_TRY(journal(next, cuts));
  state_ = std::move(next);
  saved_version_ = state_.version;
  tail_is_garbage_ = !grows;
  if (grows) return {};
  ATOLL_TRY(shared_->files->set_size(file_, size_bytes));
  tail_is_garbage_ = false;
  return {};
}

FsResult<void> Content::fetch_all(const std::stop_token& stop) {
  constexpr uint64_t kStepBytes = uint64_t{4} << 20;
  for (uint64_t position = 0;;) {
    if (stop.stop_requested()) return fail_fs(EINTR);
    Base base;
    std::optional<Range> missing;
    {
      const std::lock_guard lock(mutex_);
      ATOLL_CHECK(file_ != nullptr) << "fetch_all without a local file";
      base = state_.base;
      if (base.key.empty() || position >= base.limit) return {};
      for (const auto& piece : state_.present.pieces({position, base.limit})) {
        if (piece.present) continue;
        missing = piece.range;
        break;
      }
    }
    if (!missing) return {};
    missing->end = std::min(missing->end, missing->begin + kStepBytes);
    const auto fetched = read_base(base, *missing, nullptr);
    if (!fetched && has_moved(base, fetched.error())) continue;
    const Blob bytes = ATOLL_TRY(fetched);
    const std::lock_guard lock(mutex_);
    // Somebody may have written or cut there meanwhile.
    const uint64_t end = std::min(missing->end, state_.base.limit);
    if (missing->begin < end) {
      for (const auto& [piece, present] : state_.present.pieces({missing->begin, end})) {
        if (present) continue;
        auto rest = bytes.bytes().subspan(piece.begin - missing->begin, piece.end - piece.begin);
        for (uint64_t at = piece.begin; !rest.empty();) {
          const uint64_t n = ATOLL_TRY(shared_->files->write(file_, at, rest));
          state_.present.add({at, at + n});
          ++state_.version;
          at += n;
          rest = rest.subspan(n);
        }
      }
    }
    position = missing->end;
  }
}

bool Content::clear_base(std::string_view key, bool force) {
  const std::lock_guard lock(mutex_);
  if (state_.base.key != key) return false;
  if (!force && !state_.present.covers({0, state_.base.limit})) return false;
  state_.base = {};
  state_.present.clear();
  ++state_.version;
  return true;
}

Content::State Content::moved_base(const Base& from,
                                   std::string key,
                                   std::string etag,
                                   uint64_t size_bytes) {
  const std::lock_guard lock(mutex_);
  if (state_.base.key == from.key && state_.base.etag == from.etag) {
    state_.base.key = std::move(key);
    state_.base.etag = std::move(etag);
    state_.base.size_bytes = size_bytes;
  }
  return state_;
}

FsResult<void> Content::sync() {
  LocalFile file;
  uint64_t version = 0;
  {
    const std::lock_guard lock(mutex_);
    file = file_;
    version = state_.version;
  }
  if (file) ATOLL_TRY(shared_->files->sync(file));
  const std::lock_guard lock(mutex_);
  synced_version_ = std::max(synced_version_, version);
  return {};
}

std::unique_ptr<Content::Export> Content::begin_export(bool insist) {
  const std::lock_guard lock(mutex_);
  if (exporting_) return nullptr;
  exporting_ = true;
  insisting_ = insist;
  stop_export_ = std::stop_source();
  return std::unique_ptr<Export>(new Export(*this, state_, stop_export_.get_token()));
}

Content::Export::~Export() {
  {
    const std::lock_guard lock(content_.mutex_);
    content_.exporting_ = false;
  }
  content_.export_ended_.notify_all();
}

Content::State Content::Export::done(const std::string& key, const std::string& etag) {
  const std::lock_guard lock(content_.mutex_);
  State& state = content_.state_;
  content_.writable_ = false;
  const Range behind{state.base.limit, state.size_bytes};
  if (content_.file_) {
    state.present.add(behind);
    state_.present.add(behind);
  }
  state.base = {key, etag, state.size_bytes, state.size_bytes};
  ++state.version;
  // What has been fetched meanwhile may not be on the disk yet: the journal is not told of it.
  State noted = state;
  noted.present = state_.present;
  return state_ = std::move(noted);
}

}  // namespace atl::fs
