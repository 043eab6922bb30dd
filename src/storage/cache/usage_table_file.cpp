// The file of the table of use: made, mapped, found in order or not, and what other machines' and boots' files tell.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

#include "base/check.h"
#include "storage/cache/block_files.h"
#include "storage/cache/usage_table_parts.h"

namespace atl::storage {
namespace {

constexpr std::string_view kPrefix = "usage-";
constexpr std::string_view kLockSuffix = ".lock";
constexpr int64_t kSignedLately_s = 120;
constexpr int64_t kForgotten_s = int64_t{7} * 24 * 3600;
constexpr uint64_t kMagic = 0x3130454741535541;  // "AUSAGE01"
// A place for every 64 KiB that the cache may hold: for blocks of 1 MiB and as many names again many
// times over; for pictures of 160 KB and one and a half times as many names.
constexpr uint64_t kBytesPerSlot = uint64_t{64} << 10;
constexpr uint64_t kMinSlots = uint64_t{1} << 12;
constexpr uint64_t kMaxSlots = uint64_t{1} << 22;  // 64 MiB

}  // namespace

std::unique_ptr<UsageTable> UsageTable::open(const UsageTableOptions& options,
                                             FileOperations& files) {
  static_assert(sizeof(Shared) <= kPageBytes && std::atomic<uint64_t>::is_always_lock_free);
  const uint64_t slots =
      std::bit_ceil(std::clamp(options.max_bytes / kBytesPerSlot, kMinSlots, kMaxSlots));
  std::unique_ptr<UsageTable> table(
      new UsageTable(options.directory, std::string(kPrefix) + options.boot, files));
  if (options.boot.empty() || !table->map_file(slots, options.max_bytes)) {
    table->file_ = UniqueFd();
    table->lock_ = UniqueFd();
    const bool mapped = table->map(-1, slots);
    ATOLL_CHECK(mapped) << slots;
    table->start(options.max_bytes);
  }
  return table;
}

bool UsageTable::map_file(uint64_t slots, uint64_t max_bytes) {
  lock_ = UniqueFd(files_.open(directory_, name_ + std::string(kLockSuffix), O_RDWR | O_CREAT));
  file_ = UniqueFd(files_.open(directory_, name_, O_RDWR | O_CREAT));
  struct stat status {};
  if (!lock_ || !file_ || files_.status(file_.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return false;
  }
  const bool alone = lock_file(file_.get(), LOCK_EX | LOCK_NB);
  const auto found_bytes = static_cast<uint64_t>(status.st_size);
  const bool usable = map(file_.get(), slots_in(found_bytes)) && looks_right();
  // Another number of slots than would be made today is as good, unless the bound has changed a lot.
  if (usable && (!alone || slots_count_ >= slots)) {
    must_recount_ = alone && shared_->in_order.load() == 0;
  } else {
    // All of it now: a store into a hole on a full disk would be a signal.
    const auto file_bytes = static_cast<off_t>(bytes_of(slots));
    if (!alone || ::ftruncate(file_.get(), 0) != 0 ||
        ::posix_fallocate(file_.get(), 0, file_bytes) != 0 || !map(file_.get(), slots)) {
      return false;
    }
    start(max_bytes);
    inherit();
  }
  if (alone) shared_->in_order.store(0);
  return lock_file(file_.get(), LOCK_SH);
}

uint64_t UsageTable::bytes_of(uint64_t slots) { return kPageBytes + slots * sizeof(Slot); }

// 0: not the size of a table.
uint64_t UsageTable::slots_in(uint64_t file_bytes) {
  const uint64_t slots = file_bytes < kPageBytes ? 0 : (file_bytes - kPageBytes) / sizeof(Slot);
  const bool right = slots >= kMinSlots && slots <= kMaxSlots && std::has_single_bit(slots);
  return right && bytes_of(slots) == file_bytes ? slots : 0;
}

// fd -1: memory of our own.
bool UsageTable::map(int fd, uint64_t slots) {
  if (slots == 0) return false;
  if (shared_ != nullptr) ::munmap(shared_, mapped_bytes_);
  shared_ = nullptr;
  mapped_bytes_ = bytes_of(slots);
  const int kind = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* at = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, kind, fd, 0);
  if (at == MAP_FAILED) return false;
  shared_ = static_cast<Shared*>(at);
  slots_ = reinterpret_cast<Slot*>(static_cast<std::byte*>(at) + kPageBytes);
  slots_count_ = slots;
  return true;
}

void UsageTable::for_each_other_table(
    const std::function<void(const std::string& name, const struct stat& status)>& visit) {
  std::vector<std::string> names;
  for_each_name(directory_, [&](const std::string& name) {
    if (name.starts_with(kPrefix) && !name.ends_with(kLockSuffix) && name != name_) {
      names.push_back(name);
    }
  });
  for (const std::string& name : names) {
    struct stat status {};
    if (files_.status_at(directory_, name, &status) == 0 && S_ISREG(status.st_mode)) {
      visit(name, status);
    }
  }
}

// What the newest other table knows, if it is of the same shape; which blocks there are is counted anew.
void UsageTable::inherit() {
  std::string newest;
  int64_t modified_s = -1;
  for_each_other_table([&](const std::string& name, const struct stat& status) {
    if (static_cast<uint64_t>(status.st_size) != mapped_bytes_) return;
    if (status.st_mtim.tv_sec < modified_s) return;
    newest = name;
    modified_s = status.st_mtim.tv_sec;
  });
  if (newest.empty()) return;
  const UniqueFd fd(files_.open(directory_, newest, O_RDONLY));
  Shared found{};
  const iovec head{&found, sizeof found};
  if (!fd || files_.read(fd.get(), &head, 1, 0) != static_cast<ssize_t>(sizeof found)) return;
  if (found.magic != kMagic || found.slots != slots_count_ ||
      found.unit_shift != shared_->unit_shift || found.capacity != shared_->capacity) {
    return;
  }
  const iovec all{shared_, mapped_bytes_};
  if (files_.read(fd.get(), &all, 1, 0) != static_cast<ssize_t>(mapped_bytes_)) {
    std::memset(static_cast<void*>(slots_), 0, mapped_bytes_ - kPageBytes);
  }
  shared_->recounted_at_ms.store(0);
}

bool UsageTable::is_shared_with_machines() {
  struct stat own {};
  if (!file_ || ::futimens(file_.get(), nullptr) != 0 || files_.status(file_.get(), &own) != 0) {
    return false;
  }
  bool shared = false;
  for_each_other_table([&](const std::string& name, const struct stat& status) {
    // Both times are the file system's.
    const int64_t age_s = own.st_mtim.tv_sec - status.st_mtim.tv_sec;
    if (age_s < kSignedLately_s) shared = true;
    if (age_s < kForgotten_s) return;
    files_.remove(directory_, name);
    files_.remove(directory_, name + std::string(kLockSuffix));
  });
  return shared;
}

// The memory is all zeros.
void UsageTable::start(uint64_t max_bytes) {
  shared_->slots = slots_count_;
  const int bits = static_cast<int>(std::bit_width(max_bytes)) - (kUnitsOfCapacityBits + 1);
  shared_->unit_shift = static_cast<uint32_t>(std::max(0, bits));
  shared_->capacity =
      static_cast<uint32_t>(std::max<uint64_t>(1, max_bytes >> shared_->unit_shift));
  shared_->magic = kMagic;
  must_recount_ = true;
}

bool UsageTable::looks_right() const {
  return shared_->magic == kMagic && shared_->slots == slots_count_ && shared_->unit_shift < 48 &&
         shared_->capacity >= 1 && shared_->capacity <= (2U << kUnitsOfCapacityBits);
}

UsageTable::~UsageTable() {
  // The last one out says that the table is in order. What was stored is in the file for the next one
  // on this machine; a machine that stops names its next table otherwise.
  if (lock_ && lock_file(file_.get(), LOCK_EX | LOCK_NB)) shared_->in_order.store(1);
  if (shared_ != nullptr) ::munmap(shared_, mapped_bytes_);
}

}  // namespace atl::storage
